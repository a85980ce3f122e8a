use std::ffi::OsString;
use std::path::Path;

use super::load::{File, Variables, resolve};
use super::*;

fn load(file: Option<&str>, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let file = file.map(|text| File { name: "some.toml".into(), text: text.into() });
    let environment = environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    resolve(file.as_ref(), &Variables::collect(environment)?)
}

fn refusal(file: Option<&str>, environment: &[(&str, &str)]) -> String {
    load(file, environment).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn the_defaults_are_complete_and_valid() {
    let config = Config::defaults().unwrap();
    assert_eq!(config.http.address, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(config.workers.lease, Duration::from_secs(15));
    assert_eq!(config.environments.local.confinement, Confinement::Required);
    assert!(config.database.url.is_none() && config.bus.url.is_none() && config.telemetry.otlp_endpoint.is_none());
    assert_eq!(config.signing_key_file(), Path::new(".agentworks/keys/signing.pk8"));
    let graphql = query_api::Settings::default();
    assert_eq!((config.graphql.max_depth, config.graphql.max_complexity), (graphql.max_depth, graphql.max_complexity));
    let given = (config.graphql.query_time, config.graphql.subscriptions_per_user);
    assert_eq!(given, (graphql.time, graphql.subscriptions_per_user));
}

#[test]
fn every_setting_is_documented_even_those_without_a_default() {
    for setting in [
        "signing_key_file",
        "master_key_file",
        "pod_executable",
        "operations_file",
        "otlp_endpoint",
        "anthropic_api_key",
    ] {
        assert!(DEFAULTS.contains(&format!("# {setting} = ")), "{setting}");
    }
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let file = "[http]\naddress = \"127.0.0.1:1\"\nmax_body_bytes = 5\n[workers]\nlease_seconds = 30\n";
    let config = load(
        Some(file),
        &[("AGENTWORKS_HTTP__ADDRESS", "[::1]:2"), ("AGENTWORKS_UNSET", ""), ("AGENTWORKS_DEMO_REPO_TOKEN", "t")],
    )
    .unwrap();
    assert_eq!(config.http.address, "[::1]:2".parse().unwrap());
    assert_eq!(config.http.max_body_bytes, 5);
    assert_eq!(config.workers.lease, Duration::from_secs(30));
    assert_eq!(config.workers.max_concurrent_runs, 2);
}

#[test]
fn our_own_variable_wins_over_the_standard_one_whatever_their_order() {
    let [standard, own] = [("DATABASE_URL", "postgres://a/b"), ("AGENTWORKS_DATABASE__URL", "postgres://c/d")];
    for environment in [[standard, own], [own, standard]] {
        let url = load(None, &environment).unwrap().database.url.unwrap();
        assert_eq!(url.expose_secret(), "postgres://c/d");
    }
}

#[test]
fn standard_variables_reach_their_settings() {
    let environment = [
        ("DATABASE_URL", "postgres://u:hunter2@h/d"),
        ("NATS_URL", "nats://h"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4318"),
        ("RUST_LOG", "debug"),
        ("ANTHROPIC_API_KEY", "12345"),
    ];
    let config = load(None, &environment).unwrap();
    assert_eq!(config.bus.url.as_ref().unwrap().expose_secret(), "nats://h");
    assert_eq!(config.telemetry.otlp_endpoint.as_ref().unwrap().as_str(), "http://h:4318/");
    assert_eq!(config.telemetry.log_filter, "debug");
    assert_eq!(config.demo.anthropic_api_key.as_ref().unwrap().expose_secret(), "12345");
    assert!(!format!("{config:?}").contains("hunter2"), "secrets are not printed");
}

#[test]
fn lists_and_names_can_come_from_the_environment() {
    let environment = [
        ("AGENTWORKS_ENVIRONMENTS__LOCAL__READ_ONLY_PATHS", "[\"/opt/a\", \"/opt/b\"]"),
        ("AGENTWORKS_ENVIRONMENTS__LOCAL__CONFINEMENT", "none-i-accept-the-risk"),
        ("AGENTWORKS_DATA_DIR", "/srv/aw"),
    ];
    let config = load(None, &environment).unwrap();
    assert_eq!(config.environments.local.read_only_paths, ["/opt/a", "/opt/b"].map(PathBuf::from));
    assert_eq!(config.environments.local.confinement, Confinement::NoneIAcceptTheRisk);
    assert_eq!(config.master_key_file(), Path::new("/srv/aw/keys/master.key"));
}

#[test]
fn an_unknown_setting_is_named_as_it_was_written() {
    let in_file = refusal(Some("[http]\nadress = \"x\"\n"), &[]);
    assert_eq!(in_file, "unknown setting `http.adress` in some.toml; known here: address, max_body_bytes");
    let variable = refusal(None, &[("AGENTWORKS_HTTP__ADRESS", "x")]);
    assert!(variable.starts_with("unknown setting `AGENTWORKS_HTTP__ADRESS` in the environment"), "{variable}");
    let section = refusal(Some("[htpt]\nx = 1\n"), &[]);
    assert!(section.starts_with("unknown setting `htpt` in some.toml; known here: data_dir, http"), "{section}");
    let section = refusal(None, &[("AGENTWORKS_HTPT__X", "1")]);
    assert!(section.contains("`AGENTWORKS_HTPT__X`"), "{section}");
}

#[test]
fn a_wrong_value_names_the_setting_and_the_remedy() {
    type Case<'a> = (Option<&'a str>, &'a [(&'a str, &'a str)], &'a [&'a str]);
    let cases: [Case<'_>; 11] = [
        (None, &[("AGENTWORKS_AUTH__TOKEN_HOURS", "4294967295")], &["`AGENTWORKS_AUTH__TOKEN_HOURS`", "at most 87600"]),
        (None, &[("AGENTWORKS_HTTP__ADDRESS", "nowhere")], &["`AGENTWORKS_HTTP__ADDRESS`", "socket address"]),
        (Some("[http]\nmax_body_bytes = -1\n"), &[], &["`http.max_body_bytes` in some.toml", "-1"]),
        (Some("[log]\npartitions = 0\n"), &[], &["`log.partitions` in some.toml", "at least 1"]),
        (Some("[environments.local]\nconfinement = \"off\"\n"), &[], &["confinement", "none-i-accept-the-risk"]),
        (None, &[("DATABASE_URL", "mysql://u:hunter2@h/d")], &["`DATABASE_URL`", "`postgres://`"]),
        (None, &[("NATS_URL", "localhost")], &["`NATS_URL`", "`nats://`"]),
        (None, &[("RUST_LOG", "agentworks=loud")], &["`RUST_LOG`", "info,agentworks=debug"]),
        (Some("[graphql]\nmax_depth = 33\n"), &[], &["`graphql.max_depth` in some.toml", "at most 32"]),
        (None, &[("AGENTWORKS_WORKERS__LEASE_SECONDS", "1")], &["`AGENTWORKS_WORKERS__LEASE_SECONDS`", "at least 3"]),
        (None, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "h:4318")], &["`OTEL_EXPORTER_OTLP_ENDPOINT`", "`http://`"]),
    ];
    for (file, environment, parts) in cases {
        let message = refusal(file, environment);
        for part in parts {
            assert!(message.contains(part), "{message} lacks {part}");
        }
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn a_file_that_is_no_toml_or_is_not_there_is_named() {
    assert!(refusal(Some("[http\n"), &[]).starts_with("the configuration file some.toml is not valid TOML"));
    let missing = Config::load(Some(Path::new("no/such/file.toml"))).unwrap_err().to_string();
    assert!(missing.starts_with("cannot read the configuration file no/such/file.toml"), "{missing}");
}
