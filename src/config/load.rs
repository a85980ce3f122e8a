//! Where the configuration comes from: the layers, and how an error finds its way back to what the operator wrote.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Format, Serialized, Toml};
use figment::value::Value;

use super::{Config, ConfigError};

/// The documented defaults, as shipped.
pub const DEFAULTS: &str = include_str!("defaults.toml");

/// Read when it exists and no other file is named.
const DEFAULT_FILE: &str = "agentworks.toml";
/// Names a file, as `--config` does.
const FILE_VARIABLE: &str = "AGENTWORKS_CONFIG";
/// Starts every variable that is a setting.
const PREFIX: &str = "AGENTWORKS_";
/// Variables with the prefix that are something else: an option of `demo`, and the mark of a process inside an environment.
const NOT_SETTINGS: [&str; 2] = ["AGENTWORKS_DEMO_REPO_TOKEN", "AGENTWORKS_ENVIRONMENT"];
/// Variables that other programs know too, and the setting each stands for.
const STANDARD: [(&str, &str); 6] = [
    ("DATABASE_URL", "database.url"),
    ("NATS_URL", "bus.url"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "telemetry.otlp_endpoint"),
    ("RUST_LOG", "telemetry.log_filter"),
    ("ANTHROPIC_API_KEY", "demo.anthropic_api_key"),
    ("OPENAI_API_KEY", "demo.openai_api_key"),
];

impl Config {
    /// Reads the defaults, the file (`file`, else `AGENTWORKS_CONFIG`, else `agentworks.toml` if there is one) and the environment.
    ///
    /// # Errors
    /// When a named file cannot be read, or a setting is unknown or wrong.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let variables = Variables::collect(std::env::vars_os())?;
        let file = match file.map(Path::to_path_buf).or_else(|| variables.file.clone()) {
            Some(path) => Some(read(&path)?),
            None if Path::new(DEFAULT_FILE).exists() => Some(read(Path::new(DEFAULT_FILE))?),
            None => None,
        };
        let mut config = resolve(file.as_ref(), &variables)?;
        config.data_dir = std::path::absolute(&config.data_dir).map_err(ConfigError::WorkingDirectory)?;
        Ok(config)
    }

    /// The defaults alone, for tests and tools: neither file nor environment is read.
    ///
    /// # Errors
    /// Never in a build that passed its tests.
    pub fn defaults() -> Result<Self, ConfigError> {
        resolve(None, &Variables::default())
    }
}

/// A configuration file.
pub(super) struct File {
    pub(super) name: String,
    pub(super) text: String,
}

fn read(path: &Path) -> Result<File, ConfigError> {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(File { name, text }),
        Err(source) => Err(ConfigError::File { path: name, source }),
    }
}

/// The part of the environment that is configuration.
#[derive(Default)]
pub(super) struct Variables {
    /// Setting → (variable, value); the more specific variable has won.
    settings: BTreeMap<String, (String, Value)>,
    file: Option<PathBuf>,
}

impl Variables {
    pub(super) fn collect(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, ConfigError> {
        let mut variables = Self::default();
        let mut specific = Vec::new();
        for (name, value) in environment {
            let Ok(name) = name.into_string() else { continue };
            let standard = STANDARD.into_iter().find(|(known, _)| *known == name);
            let own = name.starts_with(PREFIX) && !NOT_SETTINGS.contains(&name.as_str());
            if value.is_empty() || !(own || standard.is_some()) {
                continue;
            }
            if name == FILE_VARIABLE {
                variables.file = Some(value.into());
                continue;
            }
            let value = value
                .into_string()
                .map_err(|_| ConfigError::Invalid { setting: name.clone(), reason: "is not valid UTF-8".into() })?;
            match standard {
                Some((_, setting)) => {
                    variables.settings.insert(setting.into(), (name, Value::from(value)));
                }
                None => specific.push((name, value)),
            }
        }
        for (name, value) in specific {
            let setting = name[PREFIX.len()..].to_lowercase().replace("__", ".");
            // figment reads numbers, booleans and lists out of a text, and leaves all else a text.
            let value = value.parse().unwrap_or_else(|never: std::convert::Infallible| match never {});
            variables.settings.insert(setting, (name, value));
        }
        Ok(variables)
    }
}

pub(super) fn resolve(file: Option<&File>, variables: &Variables) -> Result<Config, ConfigError> {
    let mut figment = Figment::from(Toml::string(DEFAULTS));
    if let Some(file) = file {
        let layer = Figment::from(Toml::string(&file.text));
        if let Err(error) = layer.extract::<figment::value::Dict>() {
            return Err(ConfigError::Syntax { path: file.name.clone(), reason: error.kind.to_string() });
        }
        figment = figment.merge(layer);
    }
    for (setting, (_, value)) in &variables.settings {
        figment = figment.merge(Serialized::default(setting, value));
    }
    let variable = |setting: &str| {
        let below = |key: &str| key.strip_prefix(setting).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        variables.settings.iter().find(|(key, _)| below(key)).map(|(_, (variable, _))| variable)
    };
    let written = |setting: &str| match (variable(setting), file) {
        (Some(variable), _) => format!("`{variable}` in the environment"),
        (None, Some(file)) => format!("`{setting}` in {}", file.name),
        (None, None) => format!("`{setting}`"),
    };
    let config: Config = figment.extract().map_err(|error| explain(error, &written))?;
    config.check().map_err(|(setting, reason)| ConfigError::Invalid { setting: written(setting), reason })?;
    Ok(config)
}

fn explain(error: figment::Error, written: &dyn Fn(&str) -> String) -> ConfigError {
    let path = error.path.join(".");
    match error.kind {
        Kind::UnknownField(_, known) => ConfigError::Unknown { setting: written(&path), known: known.join(", ") },
        kind => ConfigError::Invalid { setting: written(&path), reason: kind.to_string() },
    }
}
