#!/bin/sh
# Draws the picture of the HTML report that README.md shows: verify's findings over
# what the commands of docs/course.md make by hand.
#
#   scripts/report-picture.sh FILE.png     needs Chromium and the AWS CLI
set -eu
[ $# -eq 1 ] || { echo "usage: $0 FILE.png" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
picture=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || {
	echo "report-picture: error: no chromium, chromium-browser or google-chrome on the PATH: install one" >&2
	exit 1
}
dir=$(mktemp -d)
sandbox() { "$dir/sandbox" --dir "$dir/state" --addr 127.0.0.1:4620 "$@"; }
trap 'sandbox stop >/dev/null 2>&1 || true; rm -rf "$dir"' EXIT
(cd "$root" && ${GO:-go} build -o "$dir/" ./sandbox ./verify)

# The page's commands, until its verify; some are meant to fail.
awk '/^```sh/ {on = 1; next} /^```/ {on = 0} on {print} on && /^verify / {exit}' "$root/docs/course.md" >"$dir/course.sh"
sed -i.page 's/^verify .*/& -o html >report.html/' "$dir/course.sh"
cd "$dir"
sandbox start
PATH=$dir:$root/.sandbox/awscli/bin:$PATH sandbox exec -- sh course.sh >/dev/null 2>&1 || true # verify fails, which is what the picture shows
[ -s report.html ] || { echo "report-picture: error: the commands of docs/course.md made no report: run them in sandbox exec" >&2; exit 1; }
"$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --force-color-profile=srgb --window-size=1000,830 --screenshot="$picture" "file://$dir/report.html" >/dev/null 2>&1
