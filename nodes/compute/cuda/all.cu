// All kernels, compiled to one PTX. A block has 32 x 8 threads: eight warps.
#include "common.cuh"
#include "tile.cuh"
#include "../op/elementwise/elementwise.cu"
#include "sums.cu"
#include "../op/layer_norm/layer_norm.cu"
#include "../op/feed_forward/feed_forward.cu"
#include "../op/attention/attention.cu"
#include "../op/attention_map/attention_map.cu"
#include "../op/conv1d/conv1d.cu"
#include "../op/conv_first/conv_first.cu"
#include "../op/distance/distance.cu"
#include "../op/positional/positional.cu"
#include "../adamw/adamw.cu"
#include "../op/position_gate/position_gate.cu"
#include "../op/cross_entropy/cross_entropy.cu"
#include "../op/argmax/argmax.cu"
#include "../op/cosine_logits/cosine_logits.cu"
#include "../op/mask_frames/mask_frames.cu"
#include "../op/lstm/lstm.cu"
#include "../op/gram/gram.cu"
#include "../op/select_frames/select_frames.cu"
#include "../op/map_divergence/map_divergence.cu"
#include "../op/glu/glu.cu"

// The entry points, written by the build script. Their namespace lets them have the kernels' names.
namespace entries {
#include "entries.cuh"
}
