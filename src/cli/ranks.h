// SPDX-License-Identifier: Apache-2.0
// `--ranks N` and `--max-restarts K` of the training verbs: the program starts itself N times under mpirun on this machine, and
// again from the newest checkpoint when the job dies. (On several machines the user calls mpirun or srun.)
#pragma once

#include <cstddef>

namespace planish {

struct RankLaunch {
  size_t ranks = 1;
  size_t max_restarts = 0;
};

// Runs this process's own command line in every rank, less the options of the launch; a restart has `--resume auto`. Returns
// the exit status of the last job. Endings that a restart cannot mend (usage, files, memory, numbers, interruption) are not
// restarted.
int RunRanks(const RankLaunch& launch);

}  // namespace planish
