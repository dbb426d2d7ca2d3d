# What the scripts share: talk, failure, and where things are. Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
program=$(basename "$0")

# Talk goes to stderr, data to stdout.
say() { printf '%s: %s\n' "$program" "$*" >&2; }

# fail <what> [<hint>]
fail() {
    printf '%s: error: %s\n' "$program" "$1" >&2
    [ -z "${2:-}" ] || printf 'hint: %s\n' "$2" >&2
    exit 1
}

# The folder of the newest PostgreSQL server (14 or later) that Debian's and Ubuntu's packages or PATH offer.
postgres_bin() {
    local folder version
    for folder in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5 -rn) $(dirname "$(command -v postgres 2>/dev/null || echo /none)"); do
        [ -x "$folder/initdb" ] && [ -x "$folder/pgbench" ] || continue
        version=$("$folder/postgres" --version | sed -E 's/[^0-9]*([0-9]+).*/\1/')
        [ "$version" -ge 14 ] && { echo "$folder"; return 0; }
    done
    return 1
}

# build_folder [release]: the folder of cargo's dev builds, or of those for release.
build_folder() {
    cargo metadata --manifest-path "$root/Cargo.toml" --format-version 1 --no-deps --offline 2>/dev/null \
        | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"] + "/" + sys.argv[1])' "${1:-debug}"
}

# Ends headwater's processes that have this home folder and outlived their starter.
end_strays() {
    local environment
    for environment in /proc/[0-9]*/environ; do
        if grep --quiet --null-data --line-regexp --fixed-strings "HEADWATER_HOME=$1" "$environment" 2>/dev/null; then
            environment=${environment#/proc/}
            kill -KILL "${environment%/environ}" 2>/dev/null || true
        fi
    done
}

# One demo at a time: the lock goes with the shell that takes it.
demo_lock() {
    mkdir -p "$root/.tools"
    exec 9>"$root/.tools/demo.lock"
    flock --nonblock 9 || fail "another demo is running in this folder" "wait for it, or interrupt it: it stops what it started"
}

# All that a demo left: its processes, its database server, its files.
remove_demo() {
    [ -d "$root/.demo" ] || return 0
    end_strays "$root/.demo/home"
    "$root/scripts/postgres" remove "$root/.demo/postgres"
    rm -rf "$root/.demo"
}
