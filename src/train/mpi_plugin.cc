// SPDX-License-Identifier: Apache-2.0
// The plugin libplanish_mpi.so: mpi_api.h over an MPI library. The only file that includes mpi.h.
#define OMPI_SKIP_MPICXX  // the C interface is all we use; the C++ one needs one more library
#include <mpi.h>

#include <cstdio>
#include <cstring>

#include "train/mpi_api.h"

namespace {

int Init(int* rank, int* size) {
  int provided = 0;
  if (const int error = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided))
    return error;
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  if (const int error = MPI_Comm_rank(MPI_COMM_WORLD, rank)) return error;
  return MPI_Comm_size(MPI_COMM_WORLD, size);
}

int Send(const void* data, int bytes, int peer, int tag, void** request) {
  auto* handle = new MPI_Request;
  *request = handle;
  return MPI_Isend(data, bytes, MPI_BYTE, peer, tag, MPI_COMM_WORLD, handle);
}

int Receive(void* data, int bytes, int peer, int tag, void** request) {
  auto* handle = new MPI_Request;
  *request = handle;
  return MPI_Irecv(data, bytes, MPI_BYTE, peer, tag, MPI_COMM_WORLD, handle);
}

int Test(void* request, int* is_done) {
  auto* handle = static_cast<MPI_Request*>(request);
  const int error = MPI_Test(handle, is_done, MPI_STATUS_IGNORE);
  if (*is_done) delete handle;
  return error;
}

void Describe(int error, char* text, int text_bytes) {
  char full[MPI_MAX_ERROR_STRING];
  int length = 0;
  if (MPI_Error_string(error, full, &length) != MPI_SUCCESS) length = 0;
  std::snprintf(text, static_cast<size_t>(text_bytes), "%.*s", length, full);
}

void HostName(char* name, int name_bytes) {
  char full[MPI_MAX_PROCESSOR_NAME];
  int length = 0;
  if (MPI_Get_processor_name(full, &length) != MPI_SUCCESS) length = 0;
  std::snprintf(name, static_cast<size_t>(name_bytes), "%.*s", length, full);
}

void Abort(int status) { MPI_Abort(MPI_COMM_WORLD, status); }
int Finalize() { return MPI_Finalize(); }

constexpr PlanishMpi kApi{Init, Send, Receive, Test, Describe, HostName, Abort, Finalize};

}  // namespace

extern "C" const PlanishMpi* planish_mpi(int version) {
  return version == kPlanishMpiVersion ? &kApi : nullptr;
}
