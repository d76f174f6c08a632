// SPDX-License-Identifier: Apache-2.0
// Comm between processes started by Open MPI's mpirun (also under Slurm). One thread of its own makes all MPI calls, so that
// messages travel while the trainer computes. Every rank sends a sign of life to the next one each second; a rank that hears
// nothing from the one before it for `silence_limit_s` ends the job with a message that names the silent rank and its host.
// (A process that dies is noticed by mpirun itself, which ends the others.)
#pragma once

#include <memory>

#include "train/comm.h"

namespace planish {

struct MpiOptions {
  double silence_limit_s = 20;
};

// The environment says that a launcher (mpirun, srun) started this process as one of several.
bool IsUnderMpi();

// Joins the job. Error(kUnsupported) if the plugin or its MPI library cannot be opened, with what to install.
std::unique_ptr<Comm> JoinMpi(const MpiOptions& options = {});

// Error(kUsage) naming the ranks whose `value` differs from rank 0's, e.g. two versions of the program or of the recipe. All
// ranks call it.
void RequireEqual(Comm& comm, const std::string& what, const std::string& value);

}  // namespace planish
