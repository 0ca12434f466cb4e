# Completes what a graph says: its ports, phases and options. Other words are left to the functions
# above.
functions[_pipeline_words]=$functions[_pipeline]

_pipeline() {
    local reply
    local -a whole begun
    for reply in "${(@f)$(${words[1]} __complete -- "${(@)words[2,CURRENT-1]}" "$PREFIX" 2> /dev/null)}"; do
        reply="${reply//:/\\:}"
        case "${reply%%$'\t'*}" in
            '') ;;
            *[.=]) begun+=("${reply/$'\t'/:}") ;;
            *) whole+=("${reply/$'\t'/:}") ;;
        esac
    done
    if (( ${#whole} + ${#begun} == 0 )); then
        _pipeline_words "$@"
        return
    fi
    (( ${#whole} )) && _describe -t graph 'of the graph' whole
    (( ${#begun} )) && _describe -t graph 'of the graph' begun -S ''
    return 0
}
