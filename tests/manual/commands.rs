//! The documented commands, without hidden ones.

use clap::{Arg, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Program, roff};

/// The command line, without hidden commands.
fn shown<S>(program: &Program<S>) -> Command {
    let all = &program.command;
    let about = all.get_about().cloned().unwrap_or_default();
    let shown = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    Command::new(program.name).version(env!("CARGO_PKG_VERSION")).about(about).subcommands(shown)
}

pub(crate) fn completion<S>(program: &Program<S>, shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut shown(program), program.name, &mut script);
    let script = String::from_utf8(script).unwrap_or_else(|error| panic!("{shell} completion: not UTF-8: {error}"));
    // For bash, clap_complete spells a name with a hyphen in two ways (https://github.com/clap-rs/clap/issues/6421), so
    // that nothing after a command is completed.
    script.replace(&program.name.replace('-', "__subcmd__"), &program.name.replace('-', "__"))
}

/// One line per command; options that exclude each other are shown as alternatives.
pub(crate) fn synopsis<S>(program: &Program<S>) -> String {
    let name = program.name;
    let mut text = String::new();
    for command in shown(program).get_subcommands() {
        text += &roff::bold(&format!("{name} {}", command.get_name()));
        let mut arguments: Vec<&Arg> = command.get_arguments().collect();
        while let Some(argument) = arguments.first().copied() {
            let either = |other: &&Arg| {
                let excludes = |one: &Arg, other: &Arg| command.get_arg_conflicts_with(one).contains(&other);
                argument == *other || excludes(argument, other) || excludes(other, argument)
            };
            let (group, others): (Vec<&Arg>, Vec<&Arg>) = arguments.into_iter().partition(either);
            let one_of = group.iter().map(|argument| in_synopsis(argument)).collect::<Vec<_>>().join(" | ");
            let optional = !group.iter().all(|argument| argument.is_required_set());
            text += &if optional { format!(" [{one_of}]") } else { format!(" {one_of}") };
            arguments = others;
        }
        text += "\n.br\n";
    }
    let [version, help] = ["--version", "--help"].map(|option| roff::bold(&format!("{name} {option}")));
    text + &format!("{version}\n.br\n{help}\n")
}

fn in_synopsis(argument: &Arg) -> String {
    let takes = argument.get_action().takes_values();
    let value = argument.get_value_names().unwrap_or_default().iter().map(|name| roff::italic(name));
    let value: Vec<String> = value.filter(|_| takes).collect();
    let name = argument.get_long().map(|name| roff::bold(&format!("--{name}")));
    name.into_iter().chain(value).collect::<Vec<_>>().join(" ")
}

/// Each command with its description and its options.
pub(crate) fn commands<S>(program: &Program<S>) -> String {
    let mut text = String::new();
    for command in shown(program).get_subcommands() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        // clap removes the full stop.
        text += &format!(".SS {}\n{}.\n", roff::bold(command.get_name()), roff::text(&about));
        text += &options(command);
    }
    text
}

fn options(command: &Command) -> String {
    if command.get_arguments().next().is_none() {
        return String::new();
    }
    let mut rendered = Vec::new();
    // The page mentions --help once, for all commands.
    let command = command.clone().disable_help_flag(true);
    Man::new(command).render_options_section(&mut rendered).unwrap_or_else(|error| panic!("cannot write: {error}"));
    let rendered = String::from_utf8(rendered).unwrap_or_else(|error| panic!("not UTF-8: {error}"));
    let (_, options) = rendered.split_once(".SH OPTIONS\n").unwrap_or_else(|| panic!("no options in {rendered}"));
    options.to_owned()
}

/// Each exit code with its meaning.
pub(crate) fn exit_codes<S>(program: &Program<S>) -> String {
    program
        .exit_codes
        .iter()
        .map(|(code, when)| format!(".TP\n{}\n{}\n", roff::bold(&code.to_string()), roff::text(when)))
        .collect()
}
