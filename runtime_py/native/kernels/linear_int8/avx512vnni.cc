// The int8 linear by AVX-512's dot products of four bytes: 8 rows by 32 outputs in registers.
#include "linear_int8/avx512.inl"

namespace spartan {
namespace {

constexpr std::size_t kStrip = 8;

template <std::size_t kRows, std::size_t kBlocks>
void strip(const LinearJob& job, std::size_t row, std::size_t block) {
  const std::size_t bytes = job.input_blocks * kTileBytes;
  const std::uint8_t* x = job.x + row / kTileRows * bytes + row % kTileRows * kTileInputs;
  const std::int8_t* w = job.weights.blocks + block * bytes;
  __m512i dots[kRows][kBlocks];
  for (auto& of_row : dots) {
    for (auto& sums : of_row) sums = _mm512_setzero_si512();
  }
  for (std::size_t at = 0; at < bytes; at += kTileBytes) {
    for (std::size_t quad = 0; quad < kTileInputs / 4; ++quad) {
      __m512i weights[kBlocks];
      for (std::size_t b = 0; b < kBlocks; ++b) weights[b] = _mm512_loadu_si512(w + b * bytes + at + quad * 64);
      for (std::size_t r = 0; r < kRows; ++r) {
        const auto* four = reinterpret_cast<const std::int32_t*>(x + at + r * kTileInputs + quad * 4);
        const __m512i inputs = _mm512_set1_epi32(*four);
        for (std::size_t b = 0; b < kBlocks; ++b) dots[r][b] = _mm512_dpbusd_epi32(dots[r][b], inputs, weights[b]);
      }
    }
  }
  for (std::size_t b = 0; b < kBlocks; ++b) {
    const BlockResults results(job, block + b);
    job.weights.gelu ? results.store<true, kRows>(row, &dots[0][b], kBlocks)
                     : results.store<false, kRows>(row, &dots[0][b], kBlocks);
  }
}

template <std::size_t kBlocks>
void strips(const LinearJob& job, const LinearUnit& unit) {
  using Strip = void (*)(const LinearJob&, std::size_t, std::size_t);
  static constexpr Strip kOf[kStrip] = {strip<1, kBlocks>, strip<2, kBlocks>, strip<3, kBlocks>, strip<4, kBlocks>,
                                        strip<5, kBlocks>, strip<6, kBlocks>, strip<7, kBlocks>, strip<8, kBlocks>};
  for (std::size_t done = 0; done < unit.row_count; done += kStrip) {
    const std::size_t rows = unit.row_count - done < kStrip ? unit.row_count - done : kStrip;
    kOf[rows - 1](job, unit.row + done, unit.block);
  }
}

void multiply(const LinearJob& job) {
  for (std::size_t index = job.begin; index < job.end; ++index) {
    const LinearUnit unit(job, index);
    unit.block_count == 2 ? strips<2>(job, unit) : strips<1>(job, unit);
  }
}

}  // namespace

const LinearKernels kLinearInt8_avx512vnni = {range, quantize, multiply};

}  // namespace spartan
