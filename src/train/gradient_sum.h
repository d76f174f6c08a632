// SPDX-License-Identifier: Apache-2.0
// The sum of a step's gradients in a fixed binary tree over its micro-batches ("leaves") in canonical order, whoever computed
// them: rank r of R has leaves [r M/R, (r+1) M/R). Leaves are added like the bits of a binary counter (two sums of 2^k leaves
// make one of 2^(k+1), the earlier one on the left; what is left over at the end is added from the smallest sum up), first
// within a rank and then between ranks in the same shape. So the bits are the same for every rank count whose ranks have 2^k
// leaves each, and for one rank. Each rank receives the sum of its own part of the flat space only (ZeRO-1), in buckets that
// travel while the backward pass goes on.
#pragma once

#include <string>
#include <vector>

#include "base/memory.h"
#include "train/comm.h"
#include "train/flat_params.h"

namespace planish {

// Why `leaves` micro-batches cannot be divided among `ranks` with equal results; empty if they can.
std::string WhyLeavesDoNotDivide(size_t leaves, size_t ranks);

class GradientSum {
 public:
  // leaves: of this rank. Binds params' gradients as leaves begin. Both must outlive this.
  GradientSum(FlatParams* params, Comm* comm, size_t leaves);

  // Zeroes a buffer and binds the gradients to it; every rank begins and ends each of its leaves, then calls Finish.
  void BeginLeaf();
  // The current leaf is the rank's last, and nothing will be added to this range any more: it may travel. Ranges are disjoint.
  void RangeDone(const FlatRange& range);
  void EndLeaf();
  // [own_range().size()]: the sum over all leaves of all ranks; valid until the next BeginLeaf.
  const float* Finish();

  const FlatRange& own_range() const { return own_; }
  // Bytes of gradient buffers at their most.
  static size_t Bytes(size_t floats, size_t leaves, size_t ranks);

 private:
  struct Bucket {  // a piece of this rank's part, for which the other ranks' sums come in
    FlatRange range;
    std::vector<AlignedBuffer> received;  // by rank; own stays empty
    Comm::Ticket ticket = 0;
  };
  size_t FreeBuffer();
  float* Data(size_t buffer) { return reinterpret_cast<float*>(buffers_[buffer].data()); }
  void MergeAll(const FlatRange& range);
  void Send(const FlatRange& range);
  void SumBucket(const Bucket& bucket);

  FlatParams* params_;
  Comm* comm_;
  size_t leaves_;
  FlatRange own_;
  static constexpr size_t kNone = ~size_t{0};
  std::vector<AlignedBuffer> buffers_;  // of [size()] floats
  std::vector<size_t> carries_;  // carries_[k]: the buffer that holds a sum of 2^k leaves, or kNone
  size_t leaf_ = kNone;          // buffer of the current leaf
  size_t result_ = kNone;        // buffer in which the sum over all leaves comes to be
  size_t done_ = 0;              // leaves of this step
  std::vector<FlatRange> finished_;  // by RangeDone
  std::vector<Bucket> buckets_;
  std::vector<Comm::Ticket> sends_;
};

// Lets the gradients of finished blocks travel in pieces that are worth a message.
class GradientBuckets {
 public:
  static constexpr size_t kFloats = size_t{1} << 20;  // 4 MiB
  GradientBuckets(const FlatParams* params, GradientSum* sum) : params_(params), sum_(sum) {}
  void BlockDone(size_t block);  // in descending order
  void Flush();

 private:
  const FlatParams* params_;
  GradientSum* sum_;
  FlatRange pending_;
};

// Every rank gets the values that the others' optimizers wrote to their parts; then FlatParams::ValuesChanged.
void AllGatherValues(FlatParams* params, Comm* comm);

}  // namespace planish
