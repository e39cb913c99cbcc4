# bash completion for mlver
# Written by dev/generate from the command tree.
_mlver_offer() {
    local kind=$1; shift
    case $kind in
        artifacts | aliases | conditions | origins | remotes | revisions | tags)
            local IFS=$'\n'
            COMPREPLY=($(mlver __complete "$kind" "$cur" 2>/dev/null))
            ;;
        words) COMPREPLY=($(compgen -W "$*" -- "$cur")) ;;
        folders) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$cur")) ;;
        files) compopt -o default 2>/dev/null ;;
    esac
}

# readline cuts words at ':', '@' and '=', and expects only what comes after the last of them.
_mlver_trim() {
    local cut=${cur%"${cur##*[:=@]}"} position
    [[ -n $cut ]] || return 0
    for position in "${!COMPREPLY[@]}"; do
        COMPREPLY[position]=${COMPREPLY[position]#"$cut"}
    done
}

_mlver() {
    local line=${COMP_LINE:0:COMP_POINT} cur command= previous= place=0 word options value
    local -a words
    COMPREPLY=()
    read -ra words <<<"$line"
    cur=${line##*[[:space:]]}
    [[ -z $cur ]] || unset 'words[${#words[@]}-1]'
    for word in "${words[@]:1}"; do
        if [[ -n $previous ]]; then previous=; continue; fi
        case $command:$word in
            :-C) previous=$word ;;
            init:-C) previous=$word ;;
            add:-n | add:--name | add:-t | add:--type | add:-m | add:--message | add:-a | add:--alias | add:--tag | add:--meta | add:--meta-file | add:--metric | add:--exclude | add:--base | add:--compression | add:--keep-if-best | add:--ref | add:--max-files | add:--ref-option | add:--uses | add:-C) previous=$word ;;
            status:-C) previous=$word ;;
            rm:-C) previous=$word ;;
            restore:-C) previous=$word ;;
            run:--job-type | run:-n | run:--name | run:--config | run:--config-file | run:--uses | run:-C) previous=$word ;;
            runs:--filter | runs:--sort | runs:--columns | runs:-n | runs:--limit | runs:-C) previous=$word ;;
            lineage:--depth | lineage:-t | lineage:--type | lineage:--job-type | lineage:--collapse | lineage:--expand | lineage:--format | lineage:-C) previous=$word ;;
            best:--metric | best:-t | best:--type | best:-C) previous=$word ;;
            log:-n | log:--limit | log:-C) previous=$word ;;
            show:-C) previous=$word ;;
            diff:--depth | diff:--tensor | diff:--sort | diff:--key | diff:--label | diff:--prediction | diff:--expect-frozen | diff:--fail-if | diff:-C) previous=$word ;;
            compare:--sort | compare:-C) previous=$word ;;
            ls:-C) previous=$word ;;
            cat:-C) previous=$word ;;
            pull:-o | pull:--output | pull:--path | pull:--tensor | pull:--public-key | pull:-C) previous=$word ;;
            remote:--endpoint | remote:--region | remote:--profile | remote:--prefix | remote:--project | remote:--key-file | remote:--known-hosts | remote:--library | remote:-C) previous=$word ;;
            push:--remote | push:-C) previous=$word ;;
            fetch:-C) previous=$word ;;
            clone:--endpoint | clone:--region | clone:--profile | clone:--prefix | clone:--project | clone:--key-file | clone:--known-hosts | clone:--library | clone:-C) previous=$word ;;
            alias:--track | alias:--artifact | alias:-C) previous=$word ;;
            sign:--key | sign:-o | sign:--output | sign:-C) previous=$word ;;
            tag:-C) previous=$word ;;
            note:-C) previous=$word ;;
            meta:--meta-file | meta:--metric | meta:-d | meta:--delete | meta:-C) previous=$word ;;
            switch:-C) previous=$word ;;
            rename:-C) previous=$word ;;
            reflog:-n | reflog:--limit | reflog:-C) previous=$word ;;
            undo:--artifact | undo:-C) previous=$word ;;
            watch:--on | watch:--name | watch:--remote | watch:--interval | watch:-C) previous=$word ;;
            reproduce:--worktree | reproduce:-C) previous=$word ;;
            export:--format | export:--parquet | export:-o | export:--output | export:-C) previous=$word ;;
            query:--timeout | query:-C) previous=$word ;;
            bisect:--good | bisect:--bad | bisect:--log | bisect:-C) previous=$word ;;
            verify:--from | verify:--public-key | verify:-C) previous=$word ;;
            retain:-t | retain:--type | retain:--last | retain:--best | retain:--daily | retain:--weekly | retain:--younger | retain:-C) previous=$word ;;
            gc:--grace | gc:--apply | gc:--level | gc:-C) previous=$word ;;
            du:-C) previous=$word ;;
            *:-*) ;;
            :*) command=$word ;;
            *) place=$((place + 1)) ;;
        esac
    done
    case $command in
        '')
            case $previous in
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "--version -C -q --quiet --json -h --help"; return; fi
            _mlver_offer words "init add status rm restore run runs lineage best log show diff compare ls cat pull remote push fetch clone alias sign tag note meta switch rename reflog undo watch reproduce export query bisect verify retain gc du"
            ;;
        init)
            case $previous in
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "--trust-hooks -C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer folders; fi
            ;;
        add)
            case $previous in
                -n | --name) _mlver_offer artifacts; _mlver_trim; return ;;
                -t | --type) _mlver_offer nothing; _mlver_trim; return ;;
                -m | --message) _mlver_offer nothing; _mlver_trim; return ;;
                -a | --alias) _mlver_offer aliases; _mlver_trim; return ;;
                --tag) _mlver_offer tags; _mlver_trim; return ;;
                --meta) _mlver_offer nothing; _mlver_trim; return ;;
                --meta-file) _mlver_offer files; _mlver_trim; return ;;
                --metric) _mlver_offer nothing; _mlver_trim; return ;;
                --exclude) _mlver_offer nothing; _mlver_trim; return ;;
                --base) _mlver_offer revisions; _mlver_trim; return ;;
                --compression) _mlver_offer nothing; _mlver_trim; return ;;
                --keep-if-best) _mlver_offer nothing; _mlver_trim; return ;;
                --ref) _mlver_offer nothing; _mlver_trim; return ;;
                --max-files) _mlver_offer nothing; _mlver_trim; return ;;
                --ref-option) _mlver_offer nothing; _mlver_trim; return ;;
                --uses) _mlver_offer revisions; _mlver_trim; return ;;
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "-n --name -t --type -m --message -a --alias --tag --meta --meta-file --metric --exclude --base --compression --rehash --keep-if-best --ref --digest --max-files --ref-option --uses --provenance --no-provenance -C -q --quiet --json -h --help"; return; fi
            if ((place >= 0)); then _mlver_offer files; fi
            ;;
        status)
            case $previous in
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "-C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer folders; fi
            ;;
        rm)
            case $previous in
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "-f --force --all --dry-run -C -q --quiet --json -h --help"; return; fi
            if ((place >= 0)); then _mlver_offer revisions; fi
            ;;
        restore)
            case $previous in
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "-C -q --quiet --json -h --help"; return; fi
            if ((place >= 0)); then _mlver_offer revisions; fi
            ;;
        run)
            case $previous in
                --job-type) _mlver_offer nothing; _mlver_trim; return ;;
                -n | --name) _mlver_offer nothing; _mlver_trim; return ;;
                --config) _mlver_offer nothing; _mlver_trim; return ;;
                --config-file) _mlver_offer files; _mlver_trim; return ;;
                --uses) _mlver_offer revisions; _mlver_trim; return ;;
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "--job-type -n --name --config --config-file --uses -C -q --quiet --json -h --help"; return; fi
            if ((place >= 0)); then _mlver_offer nothing; fi
            ;;
        runs)
            case $previous in
                --filter) _mlver_offer nothing; _mlver_trim; return ;;
                --sort) _mlver_offer nothing; _mlver_trim; return ;;
                --columns) _mlver_offer nothing; _mlver_trim; return ;;
                -n | --limit) _mlver_offer nothing; _mlver_trim; return ;;
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "--filter --sort --columns -n --limit -C -q --quiet --json -h --help"; return; fi
            ;;
        lineage)
            case $previous in
                --depth) _mlver_offer nothing; _mlver_trim; return ;;
                -t | --type) _mlver_offer nothing; _mlver_trim; return ;;
                --job-type) _mlver_offer nothing; _mlver_trim; return ;;
                --collapse) _mlver_offer words "artifact type job-type"; _mlver_trim; return ;;
                --expand) _mlver_offer nothing; _mlver_trim; return ;;
                --format) _mlver_offer words "tree dot mermaid svg json"; _mlver_trim; return ;;
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "--up --down --depth -t --type --job-type --collapse --expand --format --all -C -q --quiet --json -h --help"; return; fi
            if ((place >= 0)); then _mlver_offer revisions; fi
            ;;
        best)
            case $previous in
                --metric) _mlver_offer nothing; _mlver_trim; return ;;
                -t | --type) _mlver_offer nothing; _mlver_trim; return ;;
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "--metric -t --type --max --min -C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer artifacts; fi
            ;;
        log)
            case $previous in
                -n | --limit) _mlver_offer nothing; _mlver_trim; return ;;
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "-n --limit --oneline --all --metrics --removed -C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer revisions; fi
            ;;
        show)
            case $previous in
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "-C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer revisions; fi
            ;;
        diff)
            case $previous in
                --depth) _mlver_offer nothing; _mlver_trim; return ;;
                --tensor) _mlver_offer nothing; _mlver_trim; return ;;
                --sort) _mlver_offer nothing; _mlver_trim; return ;;
                --key) _mlver_offer nothing; _mlver_trim; return ;;
                --label) _mlver_offer nothing; _mlver_trim; return ;;
                --prediction) _mlver_offer nothing; _mlver_trim; return ;;
                --expect-frozen) _mlver_offer nothing; _mlver_trim; return ;;
                --fail-if) _mlver_offer nothing; _mlver_trim; return ;;
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "--names-only --stat --markdown --depth --all --tensor --sort --rank --key --label --prediction --exit-code --expect-frozen --fail-if -C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer revisions; fi
            if ((place == 1)); then _mlver_offer nothing; fi
            ;;
        compare)
            case $previous in
                --sort) _mlver_offer nothing; _mlver_trim; return ;;
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "--sort --reverse --all -C -q --quiet --json -h --help"; return; fi
            if ((place >= 0)); then _mlver_offer revisions; fi
            ;;
        ls)
            case $previous in
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "-C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer revisions; fi
            ;;
        cat)
            case $previous in
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "-C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer revisions; fi
            ;;
        pull)
            case $previous in
                -o | --output) _mlver_offer folders; _mlver_trim; return ;;
                --path) _mlver_offer nothing; _mlver_trim; return ;;
                --tensor) _mlver_offer nothing; _mlver_trim; return ;;
                --public-key) _mlver_offer files; _mlver_trim; return ;;
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "-o --output --path --tensor -f --force --dry-run --references --no-references --require-signature --public-key -C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer revisions; fi
            ;;
        remote)
            case $previous in
                --endpoint) _mlver_offer nothing; _mlver_trim; return ;;
                --region) _mlver_offer artifacts; _mlver_trim; return ;;
                --profile) _mlver_offer artifacts; _mlver_trim; return ;;
                --prefix) _mlver_offer nothing; _mlver_trim; return ;;
                --project) _mlver_offer artifacts; _mlver_trim; return ;;
                --key-file) _mlver_offer files; _mlver_trim; return ;;
                --known-hosts) _mlver_offer files; _mlver_trim; return ;;
                --library) _mlver_offer artifacts; _mlver_trim; return ;;
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "--endpoint --region --profile --prefix --project --key-file --known-hosts --library --anonymous -C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer nothing; fi
            if ((place == 1)); then _mlver_offer remotes; fi
            if ((place == 2)); then _mlver_offer nothing; fi
            ;;
        push)
            case $previous in
                --remote) _mlver_offer remotes; _mlver_trim; return ;;
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "--remote -f --force --dry-run -C -q --quiet --json -h --help"; return; fi
            if ((place >= 0)); then _mlver_offer revisions; fi
            ;;
        fetch)
            case $previous in
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "--dry-run -C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer remotes; fi
            ;;
        clone)
            case $previous in
                --endpoint) _mlver_offer nothing; _mlver_trim; return ;;
                --region) _mlver_offer artifacts; _mlver_trim; return ;;
                --profile) _mlver_offer artifacts; _mlver_trim; return ;;
                --prefix) _mlver_offer nothing; _mlver_trim; return ;;
                --project) _mlver_offer artifacts; _mlver_trim; return ;;
                --key-file) _mlver_offer files; _mlver_trim; return ;;
                --known-hosts) _mlver_offer files; _mlver_trim; return ;;
                --library) _mlver_offer artifacts; _mlver_trim; return ;;
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "--endpoint --region --profile --prefix --project --key-file --known-hosts --library --anonymous -C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer nothing; fi
            if ((place == 1)); then _mlver_offer folders; fi
            ;;
        alias)
            case $previous in
                --track) _mlver_offer nothing; _mlver_trim; return ;;
                --artifact) _mlver_offer artifacts; _mlver_trim; return ;;
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "-d --delete --track --untrack --protect --unprotect -f --force --artifact -C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer aliases; fi
            if ((place == 1)); then _mlver_offer revisions; fi
            ;;
        sign)
            case $previous in
                --key) _mlver_offer files; _mlver_trim; return ;;
                -o | --output) _mlver_offer files; _mlver_trim; return ;;
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "--key -o --output -C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer revisions; fi
            ;;
        tag)
            case $previous in
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "-d --delete -C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer revisions; fi
            if ((place >= 1)); then _mlver_offer tags; fi
            ;;
        note)
            case $previous in
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "-d --delete -C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer revisions; fi
            if ((place == 1)); then _mlver_offer nothing; fi
            ;;
        meta)
            case $previous in
                --meta-file) _mlver_offer files; _mlver_trim; return ;;
                --metric) _mlver_offer nothing; _mlver_trim; return ;;
                -d | --delete) _mlver_offer nothing; _mlver_trim; return ;;
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "--meta-file --metric -d --delete -C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer revisions; fi
            if ((place >= 1)); then _mlver_offer nothing; fi
            ;;
        switch)
            case $previous in
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "-C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer artifacts; fi
            ;;
        rename)
            case $previous in
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "-C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer artifacts; fi
            if ((place == 1)); then _mlver_offer nothing; fi
            ;;
        reflog)
            case $previous in
                -n | --limit) _mlver_offer nothing; _mlver_trim; return ;;
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "-n --limit -C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer artifacts; fi
            ;;
        undo)
            case $previous in
                --artifact) _mlver_offer artifacts; _mlver_trim; return ;;
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "--artifact -f --force -C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer nothing; fi
            ;;
        watch)
            case $previous in
                --on) _mlver_offer conditions; _mlver_trim; return ;;
                --name) _mlver_offer nothing; _mlver_trim; return ;;
                --remote) _mlver_offer remotes; _mlver_trim; return ;;
                --interval) _mlver_offer nothing; _mlver_trim; return ;;
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "--on --name --once --fetch --remote --interval --from-start -C -q --quiet --json -h --help"; return; fi
            if ((place >= 0)); then _mlver_offer nothing; fi
            ;;
        reproduce)
            case $previous in
                --worktree) _mlver_offer folders; _mlver_trim; return ;;
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "--worktree --script --patch -C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer origins; fi
            ;;
        export)
            case $previous in
                --format) _mlver_offer words "openlineage croissant ro-crate"; _mlver_trim; return ;;
                --parquet) _mlver_offer folders; _mlver_trim; return ;;
                -o | --output) _mlver_offer files; _mlver_trim; return ;;
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "--format --parquet -o --output -C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer revisions; fi
            ;;
        query)
            case $previous in
                --timeout) _mlver_offer nothing; _mlver_trim; return ;;
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "--csv --schema --timeout -C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer nothing; fi
            ;;
        bisect)
            case $previous in
                --good) _mlver_offer revisions; _mlver_trim; return ;;
                --bad) _mlver_offer revisions; _mlver_trim; return ;;
                --log) _mlver_offer files; _mlver_trim; return ;;
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "--good --bad --no-pull --log -C -q --quiet --json -h --help"; return; fi
            if ((place >= 0)); then _mlver_offer nothing; fi
            ;;
        verify)
            case $previous in
                --from) _mlver_offer folders; _mlver_trim; return ;;
                --public-key) _mlver_offer files; _mlver_trim; return ;;
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "--remote --references --no-references --repair --from --signature --public-key -C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer revisions; fi
            ;;
        retain)
            case $previous in
                -t | --type) _mlver_offer nothing; _mlver_trim; return ;;
                --last) _mlver_offer nothing; _mlver_trim; return ;;
                --best) _mlver_offer nothing; _mlver_trim; return ;;
                --daily) _mlver_offer nothing; _mlver_trim; return ;;
                --weekly) _mlver_offer nothing; _mlver_trim; return ;;
                --younger) _mlver_offer nothing; _mlver_trim; return ;;
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "-t --type --last --best --daily --weekly --younger --tagged --not-tagged --sources --no-sources --all --clear -C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer artifacts; fi
            ;;
        gc)
            case $previous in
                --grace) _mlver_offer nothing; _mlver_trim; return ;;
                --apply) _mlver_offer files; _mlver_trim; return ;;
                --level) _mlver_offer nothing; _mlver_trim; return ;;
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "--remote --dry-run --grace --plan --apply --auto --repack --level -C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer remotes; fi
            ;;
        du)
            case $previous in
                -C) _mlver_offer folders; _mlver_trim; return ;;
            esac
            if [[ $cur == -* ]]; then _mlver_offer words "--versions -C -q --quiet --json -h --help"; return; fi
            if ((place == 0)); then _mlver_offer artifacts; fi
            ;;
    esac
    _mlver_trim
}
complete -F _mlver mlver
