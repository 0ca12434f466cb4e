# Completes what a graph says: its ports, phases and options. Other words are left to _pipeline.
_pipeline_graph() {
    local line="${COMP_LINE:0:COMP_POINT}"
    local -a words
    read -r -a words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    local current="${words[${#words[@]}-1]}"
    local reply
    local -a replies=()
    while IFS= read -r reply; do
        replies+=("${reply%%$'\t'*}")
    done < <("$1" __complete -- "${words[@]:1}" 2> /dev/null)
    if (( ${#replies[@]} == 0 )); then
        _pipeline "$@"
        return
    fi
    # Bash replaces what is behind the last of these signs only.
    local kept="${current%"${current##*[=:]}"}"
    COMPREPLY=("${replies[@]#"$kept"}")
    [[ ${replies[0]} == *[.=] ]] && compopt -o nospace 2> /dev/null
    return 0
}

if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -F _pipeline_graph -o nosort -o bashdefault -o default pipeline
else
    complete -F _pipeline_graph -o bashdefault -o default pipeline
fi
