# fish completion for p2pctl. In ~/.config/fish/config.fish:  p2pctl completion fish | source

function __p2pctl_complete
    set -l words (commandline -opc)
    set -l token (commandline -ct)
    set -l plain (string unescape -- $token)
    or set plain $token
    set -l program $words[1]
    set -e words[1]
    set -l answer ($program completion --answer fish -- $words "$plain" 2>/dev/null)
    switch "$answer[1]"
        case files
            __fish_complete_path "$plain"
        case directories
            __fish_complete_directories "$plain"
    end
    set -e answer[1]
    test (count $answer) -gt 0
    and printf '%s\n' $answer
end

complete -c p2pctl -f -a '(__p2pctl_complete)'
