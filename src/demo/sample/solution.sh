    printf 'Hello, %s!\n' "$(join_names "$@")"
}

# join_names NAME...: "Ada", "Ada and Grace", "Ada, Grace and Linus"; without names "world".
join_names() {
    names=${1:-world}
    [ "$#" -eq 0 ] || shift
    while [ "$#" -gt 1 ]; do
        names="$names, $1"
        shift
    done
    printf '%s' "$names${1:+ and $1}"
}
