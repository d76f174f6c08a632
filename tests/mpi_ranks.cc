// SPDX-License-Identifier: Apache-2.0
// A program for the tests of ranks, started by mpirun: `mpi_ranks sum LEAVES` prints a hash of the gradient sum over LEAVES
// micro-batches that the ranks share; `mpi_ranks wait FILE` writes its process id to FILE.RANK and waits for a message that
// never comes; `mpi_ranks differ` says something else on every rank.
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>

#include "base/hash.h"
#include "base/parallel.h"
#include "train/comm_mpi.h"
#include "train/gradient_sum.h"
#include "train/params_testing.h"

namespace planish {
namespace {

std::string SumHash(Comm& comm, size_t leaves) {
  testing::ParamStore store = testing::HybridParams();
  FlatParams params(store.params());
  const size_t own = leaves / comm.size();
  GradientSum sum(&params, &comm, own);
  std::vector<float> values(params.size());
  for (int step = 0; step < 3; ++step) {
    for (size_t i = 0; i < own; ++i) {
      sum.BeginLeaf();
      const size_t leaf = comm.rank() * own + i;
      for (size_t e = 0; e < params.entries().size(); ++e) {
        Random random(leaf, e);
        for (size_t k = 0; k < params.entries()[e].elements; ++k)
          (*params.entries()[e].grad)[k] += static_cast<float>(random.Uniform() - 0.5);
      }
      if (i + 1 == own)  // from the back, as a backward pass does
        for (size_t e = params.entries().size(); e-- > 1;)
          sum.RangeDone({params.entries()[e].offset, params.entries()[e].end()});
      sum.EndLeaf();
    }
    const float* result = sum.Finish();
    params.ReadValues(sum.own_range(), values.data());
    for (size_t i = 0; i < sum.own_range().size(); ++i) values[i] += result[i];
    params.WriteValues(sum.own_range(), values.data());
    AllGatherValues(&params, &comm);
  }
  params.ReadValues(params.all(), values.data());
  return Sha256Hex(std::string_view(reinterpret_cast<const char*>(values.data()),
                                    values.size() * sizeof(float)));
}

int Main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  const auto comm = JoinMpi({.silence_limit_s = 3});
  if (mode == "sum") {
    const std::string hash = SumHash(*comm, std::stoul(argv[2]));
    RequireEqual(*comm, "the sum", hash);
    if (comm->rank() == 0) std::printf("%zu ranks %s\n", comm->size(), hash.c_str());
  } else if (mode == "wait") {
    std::ofstream(std::string(argv[2]) + "." + std::to_string(comm->rank())) << getpid() << "\n";
    char never = 0;
    comm->Wait(comm->Start(
        {{.peer = (comm->rank() + 1) % comm->size(), .tag = 77, .receive = &never, .bytes = 1}}));
  } else if (mode == "differ") {
    RequireEqual(*comm, "program version", comm->rank() == 1 ? "b" : "a");
  } else {
    return 2;
  }
  return 0;
}

}  // namespace
}  // namespace planish

int main(int argc, char** argv) {
  try {
    return planish::Main(argc, argv);
  } catch (const planish::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return static_cast<int>(error.code());
  }
}
