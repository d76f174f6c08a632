// SPDX-License-Identifier: Apache-2.0
#include "train/gradient_sum.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"
#include "base/parallel.h"

namespace planish {
namespace {

constexpr int kGradientTag = 3, kValueTag = 4;
constexpr size_t kBlock = size_t{1} << 13;  // floats of a task: a handful of such arrays stay in L2

void Add(const float* right, size_t n, float* left) {
  ParallelFor((n + kBlock - 1) / kBlock, [&](size_t block, int) {
    const size_t begin = block * kBlock, end = std::min(n, begin + kBlock);
    for (size_t i = begin; i < end; ++i) left[i] += right[i];
  });
}

FlatRange Intersection(const FlatRange& a, const FlatRange& b) {
  const size_t begin = std::max(a.begin, b.begin);
  return {begin, std::max(begin, std::min(a.end, b.end))};
}

}  // namespace

std::string WhyLeavesDoNotDivide(size_t leaves, size_t ranks) {
  if (ranks == 1) return "";
  if (leaves % ranks == 0 && std::has_single_bit(leaves / ranks)) return "";
  std::string possible;
  for (size_t r = 1; r <= leaves; ++r) {
    if (r == 1 || (leaves % r == 0 && std::has_single_bit(leaves / r)))
      possible += (possible.empty() ? "" : ", ") + std::to_string(r);
  }
  return std::to_string(leaves) + " micro-batches a step do not cut into " + std::to_string(ranks) +
         " parts of 2^k each, which equal results for any number of ranks need; possible: " +
         possible;
}

GradientSum::GradientSum(FlatParams* params, Comm* comm, size_t leaves)
    : params_(params),
      comm_(comm),
      leaves_(leaves),
      own_(params->RangeOf(comm->rank(), comm->size())) {
  PLANISH_CHECK(leaves > 0 && (comm->size() == 1 || std::has_single_bit(leaves)), "{} leaves",
                leaves);
}

size_t GradientSum::Bytes(size_t floats, size_t leaves, size_t ranks) {
  const size_t buffers = static_cast<size_t>(std::bit_width(leaves));
  // Those of the tree, and what comes in from the others for this rank's part.
  return (buffers * floats + (ranks - 1) * (floats / ranks)) * sizeof(float);
}

size_t GradientSum::FreeBuffer() {
  for (size_t i = 0; i < buffers_.size(); ++i)
    if (std::find(carries_.begin(), carries_.end(), i) == carries_.end()) return i;
  buffers_.emplace_back(params_->size() * sizeof(float));
  return buffers_.size() - 1;
}

void GradientSum::BeginLeaf() {
  if (done_ == 0) carries_.clear();
  PLANISH_CHECK(leaf_ == kNone && done_ < leaves_);
  leaf_ = FreeBuffer();
  float* data = Data(leaf_);
  const size_t n = params_->size();
  ParallelFor((n + kBlock - 1) / kBlock, [&](size_t block, int) {
    const size_t begin = block * kBlock;
    std::memset(data + begin, 0, std::min(kBlock, n - begin) * sizeof(float));
  });
  params_->BindGradients(data);
  if (done_ + 1 < leaves_) return;
  result_ = leaf_;
  for (const size_t carry : carries_)
    if (carry != kNone) result_ = carry;
}

void GradientSum::EndLeaf() {
  PLANISH_CHECK(leaf_ != kNone);
  if (++done_ == leaves_) return;  // Finish merges what RangeDone has not
  size_t node = leaf_;
  leaf_ = kNone;
  for (size_t level = 0;; ++level) {
    if (level == carries_.size()) carries_.push_back(kNone);
    if (carries_[level] == kNone) {
      carries_[level] = node;
      return;
    }
    Add(Data(node), params_->size(), Data(carries_[level]));
    node = carries_[level];
    carries_[level] = kNone;
  }
}

void GradientSum::MergeAll(const FlatRange& range) {
  size_t node = leaf_;
  for (const size_t carry : carries_) {
    if (carry == kNone) continue;
    Add(Data(node) + range.begin, range.size(), Data(carry) + range.begin);
    node = carry;
  }
}

void GradientSum::Send(const FlatRange& range) {
  if (comm_->size() == 1) return;
  std::vector<Transfer> sends;
  for (size_t peer = 0; peer < comm_->size(); ++peer) {
    const FlatRange piece = Intersection(range, params_->RangeOf(peer, comm_->size()));
    if (peer == comm_->rank() || piece.size() == 0) continue;
    sends.push_back({.peer = peer,
                     .tag = kGradientTag,
                     .send = Data(result_) + piece.begin,
                     .bytes = piece.size() * sizeof(float)});
  }
  if (!sends.empty()) sends_.push_back(comm_->Start(std::move(sends)));
  Bucket bucket{.range = Intersection(range, own_), .received = {}};
  if (bucket.range.size() == 0) return;
  bucket.received.resize(comm_->size());
  std::vector<Transfer> receives;
  for (size_t peer = 0; peer < comm_->size(); ++peer) {
    if (peer == comm_->rank()) continue;
    bucket.received[peer] = AlignedBuffer(bucket.range.size() * sizeof(float));
    receives.push_back({.peer = peer,
                        .tag = kGradientTag,
                        .receive = bucket.received[peer].data(),
                        .bytes = bucket.received[peer].size()});
  }
  bucket.ticket = comm_->Start(std::move(receives));
  buckets_.push_back(std::move(bucket));
}

void GradientSum::RangeDone(const FlatRange& range) {
  PLANISH_CHECK(leaf_ != kNone && done_ + 1 == leaves_, "only in the last leaf");
  if (range.size() == 0) return;
  MergeAll(range);
  Send(range);
  finished_.push_back(range);
}

void GradientSum::SumBucket(const Bucket& bucket) {
  const size_t ranks = comm_->size(), n = bucket.range.size();
  float* own = Data(result_) + bucket.range.begin;
  ParallelFor((n + kBlock - 1) / kBlock, [&](size_t block, int) {
    const size_t begin = block * kBlock, count = std::min(kBlock, n - begin);
    std::vector<std::vector<float>> carries;
    std::vector<float> node;
    const auto add_into = [&](std::vector<float>& left) {
      for (size_t i = 0; i < count; ++i) left[i] += node[i];
      std::swap(node, left);
      left.clear();
    };
    for (size_t r = 0; r < ranks; ++r) {
      const float* values =
          (r == comm_->rank() ? own : reinterpret_cast<const float*>(bucket.received[r].data())) +
          begin;
      node.assign(values, values + count);
      for (size_t level = 0;; ++level) {
        if (level == carries.size()) carries.emplace_back();
        if (carries[level].empty()) {
          std::swap(carries[level], node);
          break;
        }
        add_into(carries[level]);
      }
    }
    node.clear();
    for (std::vector<float>& carry : carries) {
      if (carry.empty()) continue;
      if (node.empty())
        std::swap(node, carry);
      else
        add_into(carry);
    }
    std::copy(node.begin(), node.end(), own + begin);
  });
}

const float* GradientSum::Finish() {
  PLANISH_CHECK(done_ == leaves_);
  std::sort(finished_.begin(), finished_.end(),
            [](const FlatRange& a, const FlatRange& b) { return a.begin < b.begin; });
  size_t begin = 0;
  for (const FlatRange& range : std::vector<FlatRange>(finished_)) {
    PLANISH_CHECK(range.begin >= begin, "ranges overlap");
    if (range.begin > begin) {
      MergeAll({begin, range.begin});
      Send({begin, range.begin});
    }
    begin = range.end;
  }
  if (begin < params_->size()) {
    MergeAll({begin, params_->size()});
    Send({begin, params_->size()});
  }
  for (const Bucket& bucket : buckets_) {
    comm_->Wait(bucket.ticket);
    SumBucket(bucket);
  }
  for (const Comm::Ticket ticket : sends_) comm_->Wait(ticket);
  buckets_.clear();
  sends_.clear();
  finished_.clear();
  leaf_ = kNone;
  done_ = 0;
  return Data(result_) + own_.begin;
}

void GradientBuckets::BlockDone(size_t block) {
  const FlatRange range = params_->RangeOfBlock(block);
  if (range.size() == 0) return;
  if (pending_.size() > 0 && range.end != pending_.begin) Flush();
  pending_ = {range.begin, pending_.size() > 0 ? pending_.end : range.end};
  if (pending_.size() >= kFloats) Flush();
}

void GradientBuckets::Flush() {
  if (pending_.size() > 0) sum_->RangeDone(pending_);
  pending_ = {};
}

void AllGatherValues(FlatParams* params, Comm* comm) {
  if (comm->size() > 1) {
    std::vector<Transfer> transfers;
    for (size_t owner = 0; owner < comm->size(); ++owner) {
      const auto [first, last] = params->ChunksOf(params->RangeOf(owner, comm->size()));
      for (size_t c = first; c < last; ++c) {
        const FlatParams::Chunk& chunk = params->chunks()[c];
        Transfer transfer{.peer = owner, .tag = kValueTag, .bytes = chunk.elements * sizeof(float)};
        if (owner != comm->rank()) {
          transfer.receive = params->ValueOf(chunk);
          transfers.push_back(transfer);
          continue;
        }
        transfer.send = params->ValueOf(chunk);
        for (size_t peer = 0; peer < comm->size(); ++peer) {
          transfer.peer = peer;
          if (peer != owner) transfers.push_back(transfer);
        }
      }
    }
    comm->Wait(comm->Start(std::move(transfers)));
  }
  params->ValuesChanged();
}

}  // namespace planish
