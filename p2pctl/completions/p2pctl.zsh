#compdef p2pctl
# zsh completion for p2pctl. In ~/.zshrc, after compinit:  eval "$(p2pctl completion zsh)"

_p2pctl() {
    local program=${(Q)words[1]} line
    local -a answer values shown
    answer=("${(@f)$(${~program} completion --answer zsh -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    case $answer[1] in
        files) _files ;;
        directories) _files -/ ;;
    esac
    for line in "${(@)answer[2,-1]}"; do
        values+=("${line%%$'\t'*}")
        if [[ -n ${line#*$'\t'} ]]; then
            shown+=("${line%%$'\t'*}  -- ${line#*$'\t'}")
        else
            shown+=("${line%%$'\t'*}")
        fi
    done
    (( $#values )) && compadd -l -d shown -a values
}

if [[ $funcstack[1] == _p2pctl ]]; then
    _p2pctl "$@" # found in fpath
else
    compdef _p2pctl p2pctl
fi
