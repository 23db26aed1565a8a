#!/bin/sh
# Tags a release, after checking that every file that names the version agrees.
#
#   scripts/release-tags.sh 1.2.3
set -eu
cd "$(dirname "$0")/.."
version=${1:-}

fail() {
	echo "release-tags: error: $*" >&2
	exit 1
}

echo "$version" | grep -qE '^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$' || fail "VERSION must be a semantic version without v, such as 1.2.3; got '$version'"
[ -z "$(git status --porcelain)" ] || fail "the work tree has changes that are not committed"
[ "$(cat plugin/provider/VERSION)" = "$version" ] || fail "plugin/provider/VERSION is $(cat plugin/provider/VERSION), not $version"
grep -q "^## \[$version\]" CHANGELOG.md || fail "CHANGELOG.md has no section [$version]"
other=$(git grep -nE 'kms-baseline["'\'']?: *["'\'']?[0-9]+\.[0-9]+\.[0-9]+' -- examples | grep -vF "$version" || true)
[ -z "$other" ] || fail "these examples name another version: $other"
grep -q "/kms-baseline v$version\$" templates/go/go.mod || fail "templates/go/go.mod requires another version of kms-baseline than v$version"

# The nested module needs a tag of its own: https://go.dev/ref/mod#vcs-version
git tag -a "v$version" -m "kms-baseline $version"
git tag -a "plugin/v$version" -m "kms-baseline plugin $version"
echo "release-tags: git push origin v$version plugin/v$version"
