#!/bin/sh
# Finds words that docs/style.md replaces with plain technical English, in every
# text that people read: code, documentation, templates and build files.
#
#   scripts/words.sh [PATH ...]     the default is everything that git tracks
#
# Exits with 1 if it found one. A line that must quote such a word ends with the
# comment "words:ok".
set -eu
cd "$(dirname "$0")/.."

words='\b(some|no|any|every)body('\''s)?\b|\bwhoever\b|\banother'\''s\b|\bdying\b|\bsays (whether|why|which|how|what)\b|\brescued?s?\b|\baccount('\''s)? numbers?\b|\banswers with\b|\bwhat there is\b|\bthat is there already\b|\bnone of (its|the) [a-z]+ business\b|\b(mystery|lookalike|flyCanary|grounded)\b'

[ $# -gt 0 ] || set -- '*.go' '*.md' '*.tmpl' '*.yml' '*.yaml' '*.sh' '*.ts' '*.py' '*.txtar' Makefile .ci/run
found=$(git grep -nIiE "$words" -- "$@" ':!docs/style.md' ':!scripts/words.sh' | grep -v 'words:ok' || true)
if [ -n "$found" ]; then
	printf '%s\n' "$found"
	echo "words: error: say these in plain technical English: see docs/style.md" >&2
	exit 1
fi
