# Completes what a graph says: its ports, phases and options.
function __pipeline_graph
    set -l words (commandline -opc)
    $words[1] __complete -- $words[2..-1] (commandline -ct) 2> /dev/null
end

complete -c pipeline -n 'count (__pipeline_graph) > /dev/null' -f -a '(__pipeline_graph)'
complete -c pipeline -l phase -r -f -a '(__pipeline_graph)'
complete -c pipeline -l set -r -f -a '(__pipeline_graph)'
