// SPDX-License-Identifier: Apache-2.0
// FFN fusion (arXiv 2503.18908): FFN blocks that follow each other become one as wide as all together. Equal to their parallel
// form h' = h + sum_k F_k(RMS_k(h)) but for rounding: each block's norm weight g_k goes into the columns of its gate and up
// matrices, W diag(g_k), and the fused block's norm weights are 1; gate and up are stacked by rows, down by columns.
#pragma once

#include <vector>

#include "compress/ffn_runs.h"
#include "model/config_edit.h"
#include "model/export.h"
#include "model/pretrained.h"

namespace planish {

// The fused block stands in the place of the run's last block, as in LN-Ultra; in that of the first where the first one's layer
// has attention, because some readers of DeciLM cannot have attention without an FFN behind it. Layers of a DeciLM model
// that lose their block stay as empty entries. runs ascend.
EditedConfig FusedConfig(const ModelConfig& parent, const std::vector<FfnRun>& runs);

// Values of the fused model's parameters, made row by row out of the parent's, of any stored type. `parent` must outlive it.
ParamRows FusedRows(const Pretrained& parent, const EditedConfig& child,
                    const std::vector<FfnRun>& runs);

}  // namespace planish
