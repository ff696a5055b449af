//! `tidegate explain`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{complain, exit_code, print_all, refuse};
use crate::config::Config;
use crate::explain::{Outcome, Question, explain};
use crate::snapshot::Snapshot;

/// What is asked.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// The method, such as GET.
    #[arg(value_name = "METHOD")]
    method: String,
    /// The URL, such as `http://api.example.com/users/7`, or a path alone.
    #[arg(value_name = "URL")]
    url: String,
    /// A field of the request, such as 'X-Api-Version: v2'; may be given again.
    #[arg(long = "header", short = 'H', value_name = "'NAME: VALUE'")]
    fields: Vec<String>,
    /// The listener by which it comes; without it, the one with the URL's port, or else the first.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// How to say it: for people, or for programs.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// How `explain` says what it has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    /// One object with `request`, `outcome`, `status`, `allow`, `detail`, `route`, `candidates` and `elsewhere`.
    Json,
}

/// Explains, or says why it cannot.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let loaded = Config::load(&arguments.config).and_then(|config| Ok((Snapshot::compile(&config)?, config)));
    let (snapshot, config) = match loaded {
        Ok(both) => both,
        Err(faults) => return refuse(&faults),
    };
    let question = Question {
        method: arguments.method.clone(),
        url: arguments.url.clone(),
        fields: arguments.fields.clone(),
        listener: arguments.listener.clone(),
    };
    match explain(&config, &snapshot, &question) {
        Ok(explanation) => {
            let text = match arguments.format {
                Format::Human => explanation.to_string(),
                Format::Json => format!("{:#}\n", explanation.to_json()),
            };
            let printed = print_all(text.as_bytes());
            exit_code(printed && matches!(explanation.outcome, Outcome::Taken(_)))
        }
        Err(problem) => {
            complain(&problem.to_string());
            ExitCode::FAILURE
        }
    }
}
