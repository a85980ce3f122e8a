//! The executable `agentworks`.

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
#[expect(clippy::print_stderr, reason = "the last word to the person at the terminal")]
async fn main() -> ExitCode {
    // One TLS provider for everything that speaks TLS; a second installation would be a defect, and is harmless.
    let _already = rustls::crypto::ring::default_provider().install_default();
    // Boxed: it holds everything that a process is made of.
    match Box::pin(agentworks::cli::Cli::parse().run()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("agentworks: {error:#}");
            ExitCode::FAILURE
        }
    }
}
