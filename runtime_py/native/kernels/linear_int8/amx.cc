// The int8 linear by tile registers: 32 rows by 32 outputs in four of them, two of activations and two of weights.
//
// A unit reads 2 KiB of weights for every 64 inputs. They come from memory once: while one panel is multiplied, the
// next is fetched into the cache, spread evenly over the panel's units.
#include "linear_int8/avx512.inl"
#include "simd/amx.h"

namespace spartan {
namespace {

alignas(64) constexpr TileShapes kTileShapes = {
    1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

constexpr std::size_t kLine = 64;

// Fetches the panel behind the one at hand.
class NextPanel {
 public:
  NextPanel(const LinearJob& job, const LinearUnit& unit) {
    const std::size_t groups = (job.rows + kLinearUnitRows - 1) / kLinearUnitRows;
    const std::size_t blocks = (job.outputs + kLinearBlockOutputs - 1) / kLinearBlockOutputs;
    const std::size_t panel_bytes = 2 * job.input_blocks * kTileBytes;
    const std::size_t begin = (unit.panel + 1) * panel_bytes;
    const std::size_t whole = blocks * job.input_blocks * kTileBytes;
    const bool mine = (unit.panel + 1) * groups < job.end;
    const std::size_t size = !mine || begin >= whole ? 0 : whole - begin < panel_bytes ? whole - begin : panel_bytes;
    const auto share = [&](std::size_t group) { return size / kLine * group / groups * kLine; };
    next_ = job.weights.blocks + begin + share(unit.group);
    left_ = (share(unit.group + 1) - share(unit.group)) / kLine;
    step_ = (left_ + job.input_blocks - 1) / job.input_blocks;
  }

  // A part of this unit's share; called once for every 64 inputs.
  void fetch_some() {
    const std::size_t lines = left_ < step_ ? left_ : step_;
    for (std::size_t i = 0; i < lines; ++i) _mm_prefetch(reinterpret_cast<const char*>(next_ + i * kLine), _MM_HINT_T1);
    next_ += lines * kLine;
    left_ -= lines;
  }

 private:
  const std::int8_t* next_;
  std::size_t left_, step_;
};

// Claims the cache lines that the unit's results go to, so that stores find them.
class ResultLines {
 public:
  ResultLines(const LinearJob& job, const LinearUnit& unit)
      : row_(reinterpret_cast<const char*>(job.out + unit.row * job.outputs + unit.block * kLinearBlockOutputs)),
        row_bytes_(job.outputs * sizeof(float)),
        left_(unit.row_count),
        step_((unit.row_count + job.input_blocks - 1) / job.input_blocks) {}

  void claim_some() {
    const std::size_t rows = left_ < step_ ? left_ : step_;
    for (std::size_t i = 0; i < rows; ++i, row_ += row_bytes_) {
      __builtin_prefetch(row_, 1);
      __builtin_prefetch(row_ + kLine, 1);
    }
    left_ -= rows;
  }

 private:
  const char* row_;
  std::size_t row_bytes_, left_, step_;
};

template <int kRowTiles, int kBlocks>
void sums_of(const LinearJob& job, const LinearUnit& unit, std::int32_t (*sums)[16]) {
  const std::size_t bytes = job.input_blocks * kTileBytes;
  const std::uint8_t* x = job.x + unit.row / kTileRows * bytes;
  const std::int8_t* w = job.weights.blocks + unit.block * bytes;
  NextPanel next(job, unit);
  ResultLines lines(job, unit);
  _tile_zero(0);
  if constexpr (kBlocks == 2) _tile_zero(1);
  if constexpr (kRowTiles == 2) _tile_zero(2);
  if constexpr (kRowTiles == 2 && kBlocks == 2) _tile_zero(3);
  for (std::size_t at = 0; at < bytes; at += kTileBytes) {
    _tile_loadd(6, w + at, 64);
    _tile_loadd(4, x + at, 64);
    _tile_dpbusd(0, 4, 6);
    if constexpr (kBlocks == 2) {
      _tile_loadd(7, w + bytes + at, 64);
      _tile_dpbusd(1, 4, 7);
    }
    if constexpr (kRowTiles == 2) {
      _tile_loadd(5, x + bytes + at, 64);
      _tile_dpbusd(2, 5, 6);
      if constexpr (kBlocks == 2) _tile_dpbusd(3, 5, 7);
    }
    next.fetch_some();
    lines.claim_some();
  }
  _tile_stored(0, sums, 64);
  if constexpr (kBlocks == 2) _tile_stored(1, sums + 32, 64);
  if constexpr (kRowTiles == 2) _tile_stored(2, sums + 16, 64);
  if constexpr (kRowTiles == 2 && kBlocks == 2) _tile_stored(3, sums + 48, 64);
}

template <bool kGelu>
void results_of(const LinearJob& job, const LinearUnit& unit, const std::int32_t (*sums)[16]) {
  constexpr std::size_t kTogether = 4;
  for (std::size_t b = 0; b < unit.block_count; ++b) {
    const BlockResults results(job, unit.block + b);
    const auto* dots = reinterpret_cast<const __m512i*>(sums + b * 32);
    std::size_t r = 0;
    for (; r + kTogether <= unit.row_count; r += kTogether) results.store<kGelu, kTogether>(unit.row + r, dots + r, 1);
    for (; r < unit.row_count; ++r) results.store<kGelu, 1>(unit.row + r, dots + r, 1);
  }
}

void multiply(const LinearJob& job) {
  alignas(64) std::int32_t sums[64][16];  // [block, row]
  _tile_loadconfig(&kTileShapes);
  for (std::size_t index = job.begin; index < job.end; ++index) {
    const LinearUnit unit(job, index);
    if (unit.row_count > kTileRows) {
      unit.block_count == 2 ? sums_of<2, 2>(job, unit, sums) : sums_of<2, 1>(job, unit, sums);
    } else {
      unit.block_count == 2 ? sums_of<1, 2>(job, unit, sums) : sums_of<1, 1>(job, unit, sums);
    }
    job.weights.gelu ? results_of<true>(job, unit, sums) : results_of<false>(job, unit, sums);
  }
  _tile_release();  // or every change of thread would save them
}

}  // namespace

const LinearKernels kLinearInt8_amx = {range, quantize, multiply};

}  // namespace spartan
