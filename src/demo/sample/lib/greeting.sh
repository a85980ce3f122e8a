# The greeting. Sourced by bin/greet.

# greeting NAME...: prints the greeting for these people.
greeting() {
    printf 'Hello, %s!\n' "${1:-world}"
}

# shout: repeats its input in capital letters.
shout() {
    tr '[:lower:]' '[:upper:]'
}
