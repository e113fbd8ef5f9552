# Sourced by the buildpacks next to it: how they speak, and what they share.

step() { echo "-----> $*"; }
detail() { printf '       %s\n' "$*"; }
warn() { printf ' !     %s\n' "$@"; }
indent() { sed -u 's/^/       /'; }

# fail REASON WHAT-TO-DO...
fail() {
    echo ' !'
    warn "$@"
    echo ' !'
    exit 1
}

# Exit with the code that asks the platform for compilers, when the log of a failed tool ($1) shows that it lacked them.
wants_compilers() {
    command -v cc >/dev/null && command -v git >/dev/null && return 0
    grep -qE "$2" "$1" || return 0
    detail "a dependency must be compiled or fetched with git: trying again with the compilers of the stack"
    exit 79
}

# The names of config variables ($2...) become variables of this script, if the app sets them ($1 is ENV_DIR).
config() {
    local dir=$1 pattern file
    shift
    for pattern in "$@"; do
        for file in "$dir"/$pattern; do
            [ -f "$file" ] && export "$(basename "$file")=$(cat "$file")"
        done
    done
    return 0
}

digest() { sha256sum | cut -c1-32; }

# A finished tree takes its place in the cache by one rename; others of its kind go.
# keep_tree TREE FOLDER NAME
keep_tree() {
    local new="$2/.new"
    rm -rf "$new"
    mkdir -p "$2"
    cp -a "$1" "$new"
    find "$2" -mindepth 1 -maxdepth 1 ! -name .new -exec rm -rf {} +
    mv "$new" "$2/$3"
}
