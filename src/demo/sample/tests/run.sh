#!/bin/sh
# Runs all tests. Exit status 0 only if every one of them passes.
cd "$(dirname -- "$0")/.." || exit 2

total=0
failed=0

# check NAME EXPECTED COMMAND...: the command must print exactly this.
check() {
    name=$1 expected=$2
    shift 2
    total=$((total + 1))
    actual=$("$@" 2>&1)
    if [ "$actual" = "$expected" ]; then
        echo "ok $total - $name"
    else
        failed=$((failed + 1))
        echo "not ok $total - $name"
        echo "#   expected: $expected"
        echo "#   actual:   $actual"
    fi
}

check "greets the world"       "Hello, world!"                 sh bin/greet
check "greets one person"      "Hello, Ada!"                   sh bin/greet Ada
check "shouts"                 "HELLO, ADA!"                   sh bin/greet --shout Ada
check "refuses unknown options" \
    "greet: unknown option --sing (try --help)"                sh bin/greet --sing
check "greets several people"  "Hello, Ada, Grace and Linus!"  sh bin/greet Ada Grace Linus

echo "$((total - failed)) of $total tests passed"
[ "$failed" -eq 0 ]
