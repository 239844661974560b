# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_mc_broker_global_optspecs
    string join \n h/help V/version
end

function __fish_mc_broker_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_mc_broker_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_mc_broker_using_subcommand
    set -l cmd (__fish_mc_broker_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c mc-broker -n "__fish_mc_broker_needs_command" -s h -l help -d 'Print help'
complete -c mc-broker -n "__fish_mc_broker_needs_command" -s V -l version -d 'Print version'
complete -c mc-broker -n "__fish_mc_broker_needs_command" -f -a "run" -d 'Run the service'
complete -c mc-broker -n "__fish_mc_broker_needs_command" -f -a "check" -d 'Check the configuration and, unless --offline, everything that a join needs. Exits with 1 if something is wrong'
complete -c mc-broker -n "__fish_mc_broker_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mc-broker -n "__fish_mc_broker_using_subcommand run" -l config -d 'Read FILE, and the folder config.d next to it, instead of /etc/mc-broker/config.toml' -r -F
complete -c mc-broker -n "__fish_mc_broker_using_subcommand run" -s h -l help -d 'Print help'
complete -c mc-broker -n "__fish_mc_broker_using_subcommand check" -l config -d 'Read FILE, and the folder config.d next to it, instead of /etc/mc-broker/config.toml' -r -F
complete -c mc-broker -n "__fish_mc_broker_using_subcommand check" -l offline -d 'Check only the configuration'
complete -c mc-broker -n "__fish_mc_broker_using_subcommand check" -s h -l help -d 'Print help'
complete -c mc-broker -n "__fish_mc_broker_using_subcommand help; and not __fish_seen_subcommand_from run check help" -f -a "run" -d 'Run the service'
complete -c mc-broker -n "__fish_mc_broker_using_subcommand help; and not __fish_seen_subcommand_from run check help" -f -a "check" -d 'Check the configuration and, unless --offline, everything that a join needs. Exits with 1 if something is wrong'
complete -c mc-broker -n "__fish_mc_broker_using_subcommand help; and not __fish_seen_subcommand_from run check help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
