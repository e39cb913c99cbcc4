#!/usr/bin/env bash
# Where did these weights come from? A small pipeline on real handwritten digits: a dataset, three trainings, a prediction
# of each, an evaluation of all three; then the questions that one has later. No server, no account, no download.
#   examples/pipeline.sh          in a temporary folder, which is removed
#   examples/pipeline.sh FOLDER   in a new folder, to look around in afterwards
# Uses the mlver and python in PATH if they belong together, else sets them up, which needs the package index.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[[ -t 1 && -z ${NO_COLOR:-} ]] || say() { printf '\n%s\n' "$*"; }
run() { # shows the command, then runs it
    local word line='$'
    for word; do
        [[ $word != *[\ \*]* ]] || word="'$word'"
        line+=" $word"
    done
    printf '%s\n' "$line"
    "$@"
}

if ! command -v mlver >/dev/null || ! python -c 'import mlver' 2>/dev/null; then
    venv=$("$here/../dev/setup")
    PATH=$(cd "$here/.." && cd "$venv" && pwd)/bin:$PATH
fi
unset MLVER_DIR MLVER_RUN

if (($#)); then
    [[ ! -e $1 ]] || { echo "pipeline: $1 exists already; name a new folder." >&2; exit 2; }
    mkdir -p "$1"
    work=$(cd "$1" && pwd)
else
    work=$(mktemp -d "${TMPDIR:-/tmp}/mlver-pipeline-XXXXXX")
    trap 'rm -rf "$work"' EXIT
fi
mkdir "$work/data"
cp "$here/digits.py" "$work"
cp "$here/data/digits.csv.gz" "$work/data"
cd "$work"
if command -v git >/dev/null; then # then it is known too which code it was
    git init --quiet
    printf '%s\n' .mlver/ train/ test/ model/ predictions.csv report.json >.gitignore
    git add . && git -c user.name=Ada -c user.email=ada@example.com commit --quiet --message="The pipeline"
fi

say "1. Data: 400 digits to train on, 597 others to test with; later there are 1200"
run mlver init
run mlver run --name prepare --job-type prepare --config count=400 -- sh -c '
    python digits.py prepare 400 &&
    mlver add train/ --name digits_train --type dataset && mlver add test/ --name digits_test --type dataset'
run mlver run --name prepare --job-type prepare --config count=1200 -- sh -c '
    python digits.py prepare 1200 && mlver add train/ --name digits_train'

say "2. Three trainings, which say themselves what they use, how it goes and what comes of it"
run python digits.py train 0.002 digits_train:v0
run python digits.py train 0.2 digits_train:v0
run python digits.py train 0.2 digits_train:v1

say "3. What each makes of the test digits: what is pulled and added within 'mlver run' belongs to the run"
for number in 0 1 2; do
    run mlver run --name "predict-v$number" --job-type predict -- sh -c "
    mlver pull digits_mlp:v$number -o model --force && mlver pull digits_test -o test &&
    python digits.py predict > predictions.csv && mlver add predictions.csv --name predictions --type predictions"
done

say "4. An evaluation of all three"
run mlver run --name evaluation --job-type evaluate --uses digits_test -- \
    python digits.py evaluate predictions:v0 predictions:v1 predictions:v2

say "5. The best one, and names for it"
run mlver switch digits_mlp
best=$(mlver best digits_mlp --metric test_acc -q)
run mlver best digits_mlp --metric test_acc
run mlver alias best "$best"
run mlver alias production best
run mlver runs --filter 'job_type == "train"' --sort -val_acc --columns config.lr,val_acc,metrics.loss.min

say "6. What is different about it? The learning rate, and the data"
run mlver diff v0 best --names-only

say "7. Where did it come from, and what followed?"
run mlver lineage best

say "8. Were v0 and the best one tested with the same digits?"
run mlver lineage v0 best

say "Success: $best is the best of 3, and it is known what made it."
(($# == 0)) || echo "Look around: cd $work && mlver runs && mlver lineage --all --format svg > lineage.svg"
