//! The manual page: one, of the whole program.
//!
//! The commands and their options are those of the command line; what else a page has to say (signals, environment, exit
//! codes) is written here. clap_mangen would make a page for each command, which would not be installed together with the
//! program, and has no place for the rest.

use std::fmt::Write;

use clap::{Arg, Command};
use roff::{Roff, bold, italic, roman};

/// Signals, and what they do.
const SIGNALS: [(&str, &str); 4] = [
    (
        "SIGTERM, SIGINT, SIGQUIT",
        "Drain and end: /ready answers 503, after drain_delay the listeners close, and what runs may finish within \
         drain_timeout; then it is answered with 503, or cut. A second one ends at once.",
    ),
    ("SIGHUP", "Read the configuration anew. One that is wrong changes nothing."),
    ("SIGUSR1", "Open the file of the access log anew, once it was moved away."),
    (
        "SIGUSR2",
        "Start the program anew, hand all sockets over to it, and drain once it serves. If it does not come up, nothing \
         has happened.",
    ),
];

/// Variables of the environment, and what they do.
const ENVIRONMENT: [(&str, &str); 6] = [
    (
        "TIDEGATE_LOG",
        "How much is told on standard error: off, error, warn, info (the default), debug or trace, and for parts of the \
         program something else, as in info,tidegate::control=debug.",
    ),
    ("NO_COLOR", "If it is set and not empty, nothing is shown in colours."),
    ("NOTIFY_SOCKET", "Where the service manager is told of readiness, reloads and the end, see sd_notify(3)."),
    ("WATCHDOG_USEC, WATCHDOG_PID", "How often the service manager wants a sign of life, see sd_watchdog_enabled(3)."),
    ("LISTEN_FDS, LISTEN_PID", "Listening sockets of the service manager, see sd_listen_fds(3)."),
    ("RUST_BACKTRACE", "If it is 1, the log has the backtrace of a panic."),
];

/// Exit codes, and what they mean.
const EXIT_STATUS: [(&str, &str); 3] = [
    ("0", "All is well: the configuration is good, a route takes the request, or the process has drained."),
    (
        "1",
        "The configuration is wrong, no route takes the request, the gateway did not start or has crashed, a second signal \
         has ended it, or standard output could not be written.",
    ),
    ("2", "The command line is wrong."),
];

/// The page of the program whose command line `command` describes.
pub(super) fn page(mut command: Command) -> String {
    command.build();
    let (name, version) = (command.get_name().to_owned(), command.get_version().unwrap_or_default().to_owned());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut page = Roff::new();
    // The date is empty: a page that is made on the spot has none of its own.
    page.control("TH", [&*name, "1", "\"\"", &format!("{name} {version}")]);
    page.control("SH", ["NAME"]).text([roman(format!("{name} - {about}"))]);
    page.control("SH", ["SYNOPSIS"]).text([bold(&*name), roman(" "), italic("COMMAND"), roman(" [OPTIONS]")]);
    page.control("SH", ["DESCRIPTION"]).text([roman(&*about)]).control("PP", []);
    page.text([roman(
        "All settings are in one file, and those that it includes. Every command reads it as a run does.",
    )]);
    page.control("SH", ["OPTIONS"]);
    command.get_arguments().for_each(|argument| describe(&mut page, argument));
    page.control("SH", ["COMMANDS"]);
    for command in command.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        let usage = command.render_usage().to_string();
        // Of control lines, the arguments are not escaped.
        page.control("SS", [&*usage.trim_start_matches("Usage: ").replace('-', "\\-")]);
        page.text([roman(one_line(&command.get_about().map(ToString::to_string).unwrap_or_default()))]);
        let own = command.get_arguments().filter(|argument| argument.get_id() != "help");
        own.for_each(|argument| describe(&mut page, argument));
    }
    for (heading, entries) in
        [("SIGNALS", &SIGNALS[..]), ("ENVIRONMENT", &ENVIRONMENT[..]), ("EXIT STATUS", &EXIT_STATUS[..])]
    {
        page.control("SH", [heading]);
        for (term, about) in entries {
            page.control("TP", []).text([bold(*term)]).text([roman(*about)]);
        }
    }
    page.control("PP", []);
    page.text([roman("A configuration may name other variables: \"${NAME}\" stands for the value of NAME.")]);
    page.render()
}

/// Adds an option or another argument.
fn describe(page: &mut Roff, argument: &Arg) {
    let short = argument.get_short().map(|short| bold(format!("-{short}")));
    let long = argument.get_long().map(|long| bold(format!("--{long}")));
    let takes_value = argument.get_action().takes_values();
    let value = takes_value.then(|| argument.get_value_names()).flatten().and_then(<[_]>::first);
    let mut term = Vec::new();
    for (part, before) in [(short, ""), (long, ", "), (value.map(|value| italic(value.as_str())), " ")] {
        if let Some(part) = part {
            if !term.is_empty() {
                term.push(roman(before));
            }
            term.push(part);
        }
    }
    let help = argument.get_long_help().or_else(|| argument.get_help());
    let mut about = one_line(&help.map(ToString::to_string).unwrap_or_default());
    let choices = argument.get_possible_values();
    if takes_value && !choices.is_empty() {
        let names: Vec<_> = choices.iter().map(|choice| choice.get_name().to_owned()).collect();
        let _ = write!(about, " One of: {}.", names.join(", "));
    }
    if let Some(default) = argument.get_default_values().first().filter(|_| takes_value) {
        let _ = write!(about, " The default is {}.", default.to_string_lossy());
    }
    page.control("TP", []).text(term).text([roman(about)]);
}

/// A text without ends of lines.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_page_has_every_command_with_its_options_and_refers_to_no_other() {
        let mut command = crate::cli::Arguments::command();
        let page = page(command.clone());
        command.build();
        let commands: Vec<_> = command.get_subcommands().filter(|command| command.get_name() != "help").collect();
        assert!(commands.len() >= 8);
        for command in commands {
            let name = command.get_name();
            let start = page.find(&format!("\n.SS \"tidegate {name}")).unwrap_or_else(|| panic!("{name}: {page}"));
            let section = page[start + 1..].split("\n.S").next().unwrap();
            for argument in command.get_arguments().filter(|argument| argument.get_id() != "help") {
                let term = match argument.get_long() {
                    Some(long) => format!("\\fB\\-\\-{}\\fR", long.replace('-', "\\-")),
                    None => format!("\\fI{}\\fR", argument.get_value_names().unwrap()[0]),
                };
                assert!(section.contains(&term), "{name} {term}: {section}");
            }
        }
        assert!(!page.contains("(1)"), "{page}");
        let version = env!("CARGO_PKG_VERSION");
        assert!(page.contains(&format!(".TH tidegate 1 \"\" \"tidegate {version}\"\n")), "{page}");
        assert!(page.contains("\\-\\-config") && !page.contains(" --"), "{page}");
        for (term, _) in SIGNALS.iter().chain(&ENVIRONMENT).chain(&EXIT_STATUS) {
            assert!(page.contains(&format!(".TP\n\\fB{term}\\fR\n")), "{term}: {page}");
        }
    }
}
