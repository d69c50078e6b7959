# bash completion for p2pctl. In ~/.bashrc:  eval "$(p2pctl completion bash)"

_p2pctl() {
    local answer
    mapfile -t answer < <("${COMP_WORDS[0]/#\~/$HOME}" completion --answer bash -- "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    case ${answer[0]-} in
        files) compopt -o default ;;
        directories) compopt -o dirnames ;;
    esac
    COMPREPLY=("${answer[@]:1}")
}

complete -F _p2pctl p2pctl
