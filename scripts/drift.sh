#!/bin/sh
# Is a stack still as it was deployed, and does AWS prove it? Changes nothing.
#
#   scripts/drift.sh STACK [FLAG OF VERIFY ...]
#
# It looks at every object of the bucket; for a large one, limit it:
# scripts/drift.sh dev --prefix test/. DRIFT_DIR (default: bin/drift) gets preview.txt,
# verify.html and verify.json. Exits with 0 if nothing was found, 1 if something
# was, 2 if it was called wrongly, 4 if one of the two could not be run to its end.
set -eu

if [ $# -lt 1 ] || [ "${1#-}" != "$1" ]; then
	echo "drift: error: which stack? scripts/drift.sh STACK [FLAG OF VERIFY ...]" >&2
	exit 2
fi
stack=$1
shift
cd "$(dirname "$0")/.."
dir=${DRIFT_DIR:-bin/drift}
mkdir -p "$dir"
rm -f "$dir/preview.txt" "$dir/verify.html" "$dir/verify.json"

go build -o bin/verify ./verify

preview=0
pulumi preview --refresh --expect-no-changes --diff --non-interactive --color never --stack "$stack" >"$dir/preview.txt" 2>&1 || preview=$?
cat "$dir/preview.txt"
# The CLI has no exit code of its own for changes that were not expected.
if [ "$preview" -ne 0 ] && grep -q 'no changes were expected' "$dir/preview.txt"; then
	preview=drift
fi

# The event history is of who wrote and read, not of drift.
verify=0
bin/verify --stack "$stack" --prefix '' --skip trail --report "$dir/verify.html" --report "$dir/verify.json" "$@" || verify=$?

code=0
summary() { printf '%-8s %s\n' "$1" "$2"; }
echo
case $preview in
0) summary preview "no drift" ;;
drift)
	summary preview "DRIFT: pulumi up --refresh --stack $stack repairs it; see $dir/preview.txt"
	code=1
	;;
*)
	summary preview "could not be made: pulumi exited with $preview; see $dir/preview.txt"
	code=4
	;;
esac
case $verify in
0) summary verify "passed; the report is $dir/verify.html" ;;
1)
	summary verify "FAILED: see $dir/verify.html"
	[ "$code" -ne 0 ] || code=1
	;;
*)
	summary verify "could not evaluate everything: it exited with $verify"
	code=4
	;;
esac
exit "$code"
