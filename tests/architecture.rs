//! The rules of the layout (ARCHITECTURE.md), checked on the code as it stands: who may use whom, what exists in one
//! version only, and what a file may look like.
//!
//! A rule that is in the way is changed here and there in one commit, with its reason; never by an exception elsewhere.

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::{Path, PathBuf};
    use std::sync::OnceLock;

    use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

    /// What a crate of ours may use. Only what is shipped counts: tests may use what they need.
    struct Rule {
        name: &'static str,
        /// The crates of ours that it may use.
        ours: &'static [&'static str],
        /// What it must not use itself.
        not_itself: &'static [&'static str],
        /// What must not come with it in any way.
        not_at_all: &'static [&'static str],
    }

    const RULES: [Rule; 10] = [
        Rule {
            name: "domain",
            ours: &[],
            not_itself: &["tokio", "rand", "getrandom", "chrono", "futures"],
            not_at_all: &["sqlx", "axum", "async-nats", "reqwest", "hyper", "rustls"],
        },
        Rule {
            name: "schemas",
            ours: &["domain"],
            not_itself: &["tokio", "rand"],
            not_at_all: &["sqlx", "axum", "async-nats", "reqwest"],
        },
        // It names `reqwest` for `object_store`, and uses it nowhere: see below.
        Rule { name: "outbox", ours: &["schemas", "domain"], not_itself: &[], not_at_all: &["axum"] },
        Rule {
            name: "projections",
            ours: &["outbox", "schemas", "domain"],
            not_itself: &["reqwest", "async-nats"],
            not_at_all: &["axum", "kube"],
        },
        Rule { name: "access", ours: &["domain", "schemas"], not_itself: &[], not_at_all: &["sqlx", "async-nats"] },
        Rule {
            name: "command-api",
            ours: &["access", "domain", "schemas", "outbox"],
            not_itself: &["async-graphql"],
            not_at_all: &[],
        },
        // `domain` for the ids and values in its answers.
        Rule {
            name: "query-api",
            ours: &["access", "projections", "schemas", "outbox", "domain"],
            not_itself: &["reqwest"],
            not_at_all: &[],
        },
        // `access` for the tokens of pods.
        Rule {
            name: "workers",
            ours: &["command-api", "access", "outbox", "schemas", "domain"],
            not_itself: &["async-graphql"],
            not_at_all: &[],
        },
        Rule {
            name: "pod-runtime",
            ours: &["schemas"],
            not_itself: &["axum"],
            not_at_all: &["sqlx", "async-nats", "kube"],
        },
        // Puts the roles together. A pod has an executable of its own.
        Rule {
            name: "agentworks",
            ours: &["access", "command-api", "domain", "outbox", "projections", "query-api", "schemas", "workers"],
            not_itself: &[],
            not_at_all: &[],
        },
    ];

    /// What must exist in one version only: types of two versions do not fit each other, and each costs build time.
    const ONE_VERSION: [&str; 5] = ["sqlx", "sqlx-core", "rustls", "reqwest", "hyper"];

    /// There is one TLS backend, rustls, and one cryptography below it, ring.
    const NO_OTHER_TLS: [&str; 4] = ["openssl-sys", "native-tls", "aws-lc-sys", "aws-lc-rs"];

    /// Lines that a file may have without its tests. DESIGN says about 400.
    const LINES: usize = 450;

    /// Files that may silence a lint with `allow`; everybody else expects it with a reason, and hears when it is over.
    const ROOMS_FOR_ALLOW: [&str; 0] = [];

    /// The platform whose dependencies are looked at, on every machine.
    const PLATFORM: &str = "x86_64-unknown-linux-gnu";

    fn metadata() -> &'static Metadata {
        static METADATA: OnceLock<Metadata> = OnceLock::new();
        METADATA.get_or_init(|| {
            MetadataCommand::new()
                .manifest_path(root().join("Cargo.toml"))
                .other_options(["--locked".to_owned(), "--filter-platform".to_owned(), PLATFORM.to_owned()])
                .exec()
                .unwrap()
        })
    }

    fn root() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
    }

    fn member(name: &str) -> &'static Package {
        let found = metadata().workspace_packages().into_iter().find(|package| package.name.as_str() == name);
        found.unwrap_or_else(|| panic!("there is no crate `{name}` in the workspace"))
    }

    /// The names of what a crate uses itself when it is shipped.
    fn used_itself(package: &Package) -> BTreeSet<&str> {
        let shipped = package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
        shipped.map(|dependency| dependency.name.as_str()).collect()
    }

    /// All that comes with `from` when it is shipped, each with what it came through.
    fn comes_with(from: &[PackageId]) -> BTreeMap<&'static PackageId, Option<&'static PackageId>> {
        let nodes = &metadata().resolve.as_ref().unwrap().nodes;
        let mut found = BTreeMap::new();
        let mut open: Vec<_> =
            nodes.iter().filter(|node| from.contains(&node.id)).map(|node| (&node.id, None)).collect();
        while let Some((id, through)) = open.pop() {
            if found.contains_key(id) {
                continue;
            }
            found.insert(id, through);
            let node = nodes.iter().find(|node| node.id == *id).unwrap();
            let shipped =
                |kinds: &[cargo_metadata::DepKindInfo]| kinds.iter().any(|info| info.kind == DependencyKind::Normal);
            open.extend(node.deps.iter().filter(|dep| shipped(&dep.dep_kinds)).map(|dep| (&dep.pkg, Some(id))));
        }
        found
    }

    /// How a package came in, for people: `hyper 1.8.1 < reqwest 0.13.1 < workers 0.1.0`.
    fn way(to: &PackageId, found: &BTreeMap<&'static PackageId, Option<&'static PackageId>>) -> String {
        let mut names = Vec::new();
        let mut next = Some(to);
        while let Some(id) = next {
            let package = &metadata()[id];
            names.push(format!("{} {}", package.name, package.version));
            next = found.get(id).copied().flatten();
        }
        names.join(" < ")
    }

    #[test]
    fn every_crate_of_the_workspace_has_a_rule() {
        let members: BTreeSet<_> =
            metadata().workspace_packages().into_iter().map(|package| package.name.as_str()).collect();
        assert_eq!(members, RULES.iter().map(|rule| rule.name).collect());
    }

    #[test]
    fn a_crate_uses_only_those_of_ours_that_it_may() {
        let ours: BTreeSet<_> = RULES.iter().map(|rule| rule.name).collect();
        for rule in &RULES {
            let used = used_itself(member(rule.name));
            let forbidden: Vec<_> = used.intersection(&ours).filter(|name| !rule.ours.contains(name)).collect();
            assert!(forbidden.is_empty(), "`{}` must not use {forbidden:?}", rule.name);
        }
    }

    #[test]
    fn a_crate_uses_nothing_that_it_must_not_touch() {
        for rule in &RULES {
            let package = member(rule.name);
            let used = used_itself(package);
            for name in rule.not_itself.iter().chain(rule.not_at_all) {
                assert!(!used.contains(name), "`{}` must not use `{name}`", rule.name);
            }
            let all = comes_with(std::slice::from_ref(&package.id));
            for id in all.keys() {
                let name = metadata()[id].name.as_str();
                assert!(
                    !rule.not_at_all.contains(&name),
                    "`{name}` must not come with `{}`: {}",
                    rule.name,
                    way(id, &all)
                );
            }
        }
    }

    #[test]
    fn outbox_names_reqwest_and_does_not_use_it() {
        let mut sources = Vec::new();
        rust_files(&root().join("outbox/src"), &mut sources);
        assert!(!sources.is_empty());
        let using = |path: &PathBuf| std::fs::read_to_string(path).unwrap().contains("reqwest::");
        let users: Vec<_> = sources.into_iter().filter(using).collect();
        assert!(users.is_empty(), "what speaks HTTP is not `outbox`: {users:#?}");
    }

    #[test]
    fn what_must_be_one_is_one() {
        let all = comes_with(&metadata().workspace_members);
        for name in ONE_VERSION {
            let ways: Vec<_> = all.keys().filter(|id| metadata()[id].name == name).map(|id| way(id, &all)).collect();
            assert_eq!(ways.len(), 1, "there must be one version of `{name}`: {ways:#?}");
        }
    }

    #[test]
    fn there_is_one_tls_backend() {
        let all = comes_with(&metadata().workspace_members);
        let others: Vec<_> = all
            .keys()
            .filter(|id| NO_OTHER_TLS.contains(&metadata()[id].name.as_str()))
            .map(|id| way(id, &all))
            .collect();
        assert!(others.is_empty(), "rustls with ring is the one TLS backend, but: {others:#?}");
    }

    /// All Rust files below a folder, but for those that a build leaves behind.
    fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                rust_files(&path, found);
            } else if path.is_file() && name.ends_with(".rs") {
                found.push(path);
            }
        }
    }

    fn all_rust_files() -> Vec<PathBuf> {
        let mut found = Vec::new();
        rust_files(&root(), &mut found);
        assert!(!found.is_empty());
        found
    }

    /// Whether a file holds tests only.
    fn is_test(path: &Path) -> bool {
        path.iter().any(|part| part == "tests" || part == "tests.rs" || part == "benches")
    }

    #[test]
    fn files_are_small() {
        let mut long = Vec::new();
        for path in all_rust_files().into_iter().filter(|path| !is_test(path.strip_prefix(root()).unwrap())) {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let lines = code.lines().count();
            if lines >= LINES {
                long.push(format!("{}: {lines} lines", path.display()));
            }
        }
        assert!(long.is_empty(), "a file has fewer than {LINES} lines without its tests; split: {long:#?}");
    }

    #[test]
    fn lints_are_expected_with_a_reason_and_never_just_allowed() {
        // Written in two parts, or this file would find itself.
        let attributes = [concat!("#[", "allow("), concat!("#![", "allow(")];
        let mut found = Vec::new();
        for path in all_rust_files() {
            let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let lines = text.lines().enumerate().filter(|(_, line)| attributes.iter().any(|a| line.contains(a)));
            if !ROOMS_FOR_ALLOW.contains(&name.as_str()) {
                found.extend(lines.map(|(i, _)| format!("{name}:{}", i + 1)));
            }
        }
        assert!(found.is_empty(), "use `#[expect(…, reason = \"…\")]` here: {found:#?}");
    }
}
