// SPDX-License-Identifier: Apache-2.0
#include "infer/sequence.h"

#include <algorithm>

namespace planish {

Sequence::Sequence(uint64_t its_id, Request its_request,
                   std::function<void(const RequestResult&)> its_done)
    : id(its_id),
      request(std::move(its_request)),
      done(std::move(its_done)),
      sampler(request.sampling),
      ids(request.prompt),
      bulk({{0, ids.size()}}) {
  sampler.SeePrompt(ids);
}

void Sequence::AddCut(size_t at) {
  const auto place = std::lower_bound(cuts.begin(), cuts.end(), at);
  if (place == cuts.end() || *place != at) cuts.insert(place, at);
  if (at % kPrefillGrid == 0) return;
  const auto off = std::lower_bound(off_grid.begin(), off_grid.end(), at);
  if (off == off_grid.end() || *off != at) off_grid.insert(off, at);
}

void Sequence::PlanCuts(bool is_recurrent, bool has_cache, bool cuts_matter) {
  if (!is_recurrent) return;
  const size_t length = request.prompt.size();
  for (const size_t at : request.snapshot_at) {
    if (at > 0 && at <= length) AddCut(at);
  }
  if (!has_cache) return;
  if (request.is_background) {
    if (OnGrid(length) > 0) AddCut(OnGrid(length));
  } else if (length > 1) {
    // For the same prompt again, and for longer ones. A cut costs a step, so the last one asked for serves if it is as near
    // as a slice. Where cuts matter, longer prompts can resume only from cuts that they have too: those on the grid.
    const size_t last = cuts_matter && length > kPrefillGrid ? OnGrid(length - 1) : length - 1;
    const auto before_end = std::lower_bound(cuts.begin(), cuts.end(), length);
    if (before_end == cuts.begin() || *(before_end - 1) + kPrefillGrid < length) AddCut(last);
  }
  for (size_t at = kSnapshotPeriod; at < length; at += kSnapshotPeriod) AddCut(at);
}

size_t Sequence::PlanFork(bool is_recurrent) {
  const size_t last = request.prompt.size() - 1;
  if (!is_recurrent) return last;
  const auto after = std::upper_bound(cuts.begin(), cuts.end(), last);
  if (after != cuts.begin()) return *(after - 1);
  if (OnGrid(last) > 0) AddCut(OnGrid(last));
  return OnGrid(last);
}

size_t Sequence::BulkEnd(size_t position) const {
  for (const auto& [begin, end] : bulk) {
    if (begin <= position && position < end) return end;
  }
  return 0;
}

size_t Sequence::NextCut(size_t length) const {
  const auto next = std::upper_bound(cuts.begin(), cuts.end(), length);
  return next == cuts.end() ? std::numeric_limits<size_t>::max() : *next;
}

bool Sequence::IsCut(size_t length) const {
  return std::binary_search(cuts.begin(), cuts.end(), length);
}

size_t Sequence::SliceEnd(size_t rows) const {
  const size_t begin = state.length(), last = BulkEnd(begin);
  size_t end = std::min(last, begin + rows);
  if (end < last) end = std::max(OnGrid(end), std::min(last, OnGrid(begin) + kPrefillGrid));
  return std::min(end, NextCut(begin));
}

void Sequence::NoteOrigin(size_t count, bool is_decode, bool cuts_matter, bool kinds_matter) {
  const size_t length = state.length();
  if (is_decode) {
    if (kinds_matter) origin.exact_length = std::min(origin.exact_length, length - count);
  } else if (cuts_matter && length % kPrefillGrid != 0) {
    origin.cuts.push_back(length);
  }
}

}  // namespace planish
