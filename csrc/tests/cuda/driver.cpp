// A driver library that runs kernels on the CPU: the calls that recsmith makes, over the emulator. "Machine code" is a shared
// library that g++ made of a kernel's text behind emulator.hpp. Streams run at once; graphs are lists of what was recorded.
#include <dlfcn.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>

#include "fibers.hpp"

namespace {

using Address = std::uint64_t;
enum Code { ok = 0, invalid = 1, out_of_memory = 2, launch_failed = 719 };

constexpr std::size_t device_bytes = std::size_t{1} << 30;
std::map<Address, std::pair<std::size_t, std::unique_ptr<emulated::Guarded>>> memory;
std::size_t used = 0;
char problem[512];

struct Module {
  void* library;
};
struct Kernel {
  int (*launch)(const emulated::Request*);
  unsigned argument_bytes, threads;
};
struct Recorded {
  std::vector<std::function<int()>> steps;
};
std::map<void*, Recorded*> recording;  // by stream

bool valid(const void* at, std::size_t nbytes) {
  const Address address = reinterpret_cast<Address>(at);
  auto next = memory.upper_bound(address);
  if (next == memory.begin()) return false;
  --next;
  return address + nbytes <= next->first + next->second.first;
}

template <class T>
void give(void* to, T value) { *static_cast<T*>(to) = value; }

int allocate(Address* to, std::size_t nbytes) {
  if (used + nbytes > device_bytes) return out_of_memory;
  auto pages = std::make_unique<emulated::Guarded>(nbytes, 256);
  const Address address = reinterpret_cast<Address>(pages->start);
  memory.emplace(address, std::make_pair(nbytes, std::move(pages)));
  used += nbytes;
  *to = address;
  return ok;
}

int release(Address address) {
  const auto found = memory.find(address);
  if (found == memory.end()) return invalid;
  used -= found->second.first;
  memory.erase(found);
  return ok;
}

int run_or_record(void* stream, std::function<int()> step) {
  const auto found = recording.find(stream);
  if (found == recording.end()) return step();
  found->second->steps.push_back(std::move(step));
  return ok;
}

int copy(Address to, Address from, std::size_t nbytes, Address device_side, void* stream) {
  return run_or_record(stream, [=] {
    if (nbytes > 0 && !valid(reinterpret_cast<void*>(device_side), nbytes)) return int{invalid};
    std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), nbytes);
    return int{ok};
  });
}

struct Config {
  unsigned grid[3], block[3], shared_bytes;
  void* stream;
  struct Attribute {
    unsigned id, pad, value[16];
  }* attributes;
  unsigned count;
};

constexpr std::size_t most_l2_bytes = std::size_t{1} << 19;
std::size_t l2_bytes = 0;  // kept for windows

// Of memory that is to stay in the L2: whether it is the device's, and no more than is kept.
bool window_of(const Config::Attribute& attribute) {
  Address start;
  std::uint64_t nbytes;
  float share;
  std::memcpy(&start, attribute.value, 8);
  std::memcpy(&nbytes, attribute.value + 2, 8);
  std::memcpy(&share, attribute.value + 4, 4);
  const bool kept = attribute.value[5] == 2 && attribute.value[6] == 0 && share > 0.0f && share <= 1.0f;
  return kept && nbytes > 0 && nbytes <= l2_bytes && valid(reinterpret_cast<void*>(start), nbytes);
}

// Blocks a cluster; 0 where an attribute is none that a launch may have.
unsigned cluster_of(const Config& config) {
  unsigned cluster = 1;
  for (unsigned at = 0; at < config.count; ++at) {
    if (config.attributes[at].id == 4) cluster = config.attributes[at].value[0];
    else if (config.attributes[at].id != 1 || !window_of(config.attributes[at])) return 0;
  }
  return cluster <= 16 && config.grid[0] % std::max(cluster, 1u) == 0 ? cluster : 0;
}

std::uint64_t order() {
  const char* const wanted = std::getenv("RECSMITH_EMULATED_ORDER");
  return wanted == nullptr ? 0 : std::strtoull(wanted, nullptr, 10);
}

}  // namespace

extern "C" {

int cuInit(unsigned) { return ok; }
int cuDeviceGet(int* device, int ordinal) { return *device = ordinal, ordinal == 0 ? ok : invalid; }
int cuDevicePrimaryCtxRetain(void** context, int) { return *context = &memory, ok; }
int cuCtxSetLimit(int limit, std::size_t value) { return l2_bytes = value, limit == 6 && value <= most_l2_bytes ? ok : invalid; }
int cuCtxSetCurrent(void*) { return ok; }
int cuDeviceGetName(char* name, int room, int) { return std::snprintf(name, room, "emulated GPU"), ok; }
int cuDeviceGetAttribute(int* value, int attribute, int) {
  static const std::map<int, int> known{{13, 1000000}, {16, 4}, {36, 1000000}, {37, 64}, {38, 1 << 20}, {39, 2048}, {40, 1}, {75, 9}, {76, 0},
                                        {81, 233472}, {82, 65536}, {97, 232448}, {106, 32}, {108, 1 << 19}, {109, 1 << 19}, {111, 1024}, {120, 1}};
  const auto found = known.find(attribute);
  return *value = found == known.end() ? 0 : found->second, ok;
}
int cuMemGetInfo_v2(std::size_t* free, std::size_t* total) { return *free = device_bytes - used, *total = device_bytes, ok; }
int cuMemAlloc_v2(Address* to, std::size_t nbytes) { return allocate(to, nbytes); }
int cuMemFree_v2(Address address) { return release(address); }
int cuMemAllocHost_v2(Address* to, std::size_t nbytes) { return allocate(to, nbytes); }
int cuMemFreeHost(Address address) { return release(address); }
int cuMemcpyHtoDAsync_v2(Address to, Address from, std::size_t nbytes, void* stream) { return copy(to, from, nbytes, to, stream); }
int cuMemcpyDtoHAsync_v2(Address to, Address from, std::size_t nbytes, void* stream) { return copy(to, from, nbytes, from, stream); }
int cuMemsetD8Async(Address to, unsigned char value, std::size_t nbytes, void* stream) {
  return run_or_record(stream, [=] { return valid(reinterpret_cast<void*>(to), nbytes) ? (std::memset(reinterpret_cast<void*>(to), value, nbytes), int{ok}) : int{invalid}; });
}
int cuStreamCreate(void** stream, unsigned) { return *stream = new char, ok; }
int cuStreamSynchronize(void*) { return problem[0] == 0 ? ok : launch_failed; }
int cuEventCreate(void** event, unsigned) { return *event = new std::chrono::steady_clock::time_point, ok; }
int cuEventRecord(void* event, void*) { return give(event, std::chrono::steady_clock::now()), ok; }
int cuEventSynchronize(void*) { return ok; }
int cuStreamWaitEvent(void*, void*, unsigned) { return ok; }
int cuEventElapsedTime(float* ms, void* first, void* second) {
  using Time = std::chrono::steady_clock::time_point;
  return *ms = std::chrono::duration<float, std::milli>(*static_cast<Time*>(second) - *static_cast<Time*>(first)).count(), ok;
}
int cuEventDestroy_v2(void* event) { return delete static_cast<std::chrono::steady_clock::time_point*>(event), ok; }
int cuStreamBeginCapture_v2(void* stream, int) { return recording[stream] = new Recorded, ok; }
int cuStreamEndCapture(void* stream, void** graph) { return *graph = recording[stream], recording.erase(stream), ok; }
int cuGraphExecDestroy(void*) { return ok; }
int cuGraphDestroy(void* graph) { return delete static_cast<Recorded*>(graph), ok; }
int cuGraphInstantiateWithFlags(void** runnable, void* graph, unsigned long long) { return *runnable = graph, ok; }
int cuGraphLaunch(void* runnable, void*) {
  for (const auto& step : static_cast<Recorded*>(runnable)->steps) {
    if (const int code = step(); code != ok) return code;
  }
  return ok;
}
// The image is the path of a shared library.
int cuModuleLoadData(void** module, const char* image) {
  void* const library = dlopen(image, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return std::snprintf(problem, sizeof(problem), "%s", dlerror()), invalid;
  return *module = new Module{library}, ok;
}
int cuModuleGetFunction(void** function, void* module, const char* name) {
  const auto symbol = [&](const char* end) { return dlsym(static_cast<Module*>(module)->library, (std::string(name) + end).c_str()); };
  if (symbol("_launch") == nullptr) return invalid;
  const auto number = [&](const char* end) { return reinterpret_cast<unsigned (*)()>(symbol(end))(); };
  *function = new Kernel{reinterpret_cast<int (*)(const emulated::Request*)>(symbol("_launch")), number("_argument_bytes"), number("_threads")};
  return ok;
}
int cuFuncGetAttribute(int* value, int, void*) { return *value = 0, ok; }
int cuFuncSetAttribute(void*, int, int) { return ok; }
int cuFuncGetParamInfo(void* function, std::size_t index, std::size_t* offset, std::size_t* nbytes) {
  if (index != 0) return invalid;
  return *offset = 0, *nbytes = static_cast<Kernel*>(function)->argument_bytes, ok;
}
int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* count, void*, int, std::size_t) { return *count = 2, ok; }
int cuOccupancyMaxActiveClusters(int* count, void*, const Config*) { return *count = 2, ok; }

int cuLaunchKernelEx(const Config* config, void* function, void** parameters, void**) {
  const Kernel kernel = *static_cast<Kernel*>(function);
  const std::string argument(static_cast<const char*>(parameters[0]), kernel.argument_bytes);
  emulated::Request request{config->grid[0], config->block[0], config->shared_bytes, cluster_of(*config), order(), nullptr, valid, problem};
  return run_or_record(config->stream, [=]() mutable {
    if (request.cluster == 0 || request.block != kernel.threads || request.shared_bytes > 232448) return int{invalid};
    std::vector<std::uint64_t> aligned(argument.size() / 8 + 1);
    std::memcpy(aligned.data(), argument.data(), argument.size());
    request.argument = aligned.data();
    return kernel.launch(&request) == 0 ? int{ok} : int{launch_failed};
  });
}

int cuGetErrorString(int code, const char** text) {
  *text = problem[0] != 0 ? problem : code == out_of_memory ? "out of memory" : "invalid argument";
  return ok;
}

// Of the emulator alone: forget what went wrong.
void recsmith_forget() { problem[0] = 0; }

}  // extern "C"
