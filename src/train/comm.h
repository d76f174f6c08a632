// SPDX-License-Identifier: Apache-2.0
// What ranks say to each other: transfers between two ranks that run beside the computation, small data of all ranks, and a way
// to end the job. No arithmetic: sums that reach weights are ours, in a fixed order (gradient_sum.h). One rank needs no library;
// several are processes under Open MPI's mpirun or Slurm (comm_mpi.h). Called from the trainer's thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace planish {

// One message to or from another rank. Messages of one pair of ranks and one tag arrive in the order in which they were started.
struct Transfer {
  size_t peer = 0;
  int tag = 0;  // below kReservedTags
  const void* send =
      nullptr;  // exactly one of send and receive is set; the memory stays untouched until Wait
  void* receive = nullptr;
  size_t bytes = 0;
};
inline constexpr int kReservedTags = 1 << 14;

class Comm {
 public:
  using Ticket = uint64_t;
  virtual ~Comm() = default;
  virtual size_t rank() const = 0;
  virtual size_t size() const = 0;
  // Starts transfers that go on while the caller computes. Wait blocks until all of them are done; each ticket is waited for
  // once. When a rank dies or stays silent the job ends (see comm_mpi.h): Wait does not return then.
  virtual Ticket Start(std::vector<Transfer> transfers) = 0;
  virtual void Wait(Ticket ticket) = 0;
  // Ends the whole job with this exit status, after printing "error: MESSAGE" on standard error.
  [[noreturn]] virtual void Abort(int status, const std::string& message) = 0;

  // Every rank's bytes, by rank; lengths may differ. All ranks call it.
  std::vector<std::vector<std::byte>> AllGather(std::span<const std::byte> own);
  std::vector<std::vector<double>> AllGather(std::span<const double> own);
  // Every rank's text, e.g. what must be equal everywhere.
  std::vector<std::string> AllGather(const std::string& own);
  void Barrier() { AllGather(std::span<const std::byte>()); }
};

// The only rank there is.
std::unique_ptr<Comm> MakeLocalComm();

}  // namespace planish
