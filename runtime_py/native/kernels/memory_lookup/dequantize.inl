// Quantised cells to float: plain loops that each instruction set's .cc compiles for itself by including this inside
// its anonymous namespace. The layouts are those of spartan/memory_lookup.h. float(q) * scale is rounded once, so every
// instruction set gives the same bits.

// One cell, int8 [hidden] with one scale.
void expand_int8_row(const std::int8_t* cells, float scale, std::size_t hidden, float* out) {
  for (std::size_t h = 0; h < hidden; ++h) out[h] = static_cast<float>(cells[h]) * scale;
}

// 16 cells in groups of four h: int8 [ceil(hidden / 4)][16][4] -> float [hidden][16].
void expand_int8_columns(const std::int8_t* cells, const float* scales, std::size_t hidden, float* out) {
  for (std::size_t h = 0; h < hidden; h += 4, cells += 64) {
    std::uint32_t quads[16];
    __builtin_memcpy(quads, cells, sizeof quads);  // little-endian: the byte of h + j is at bits 8 j
    const std::size_t steps = hidden - h < 4 ? hidden - h : 4;
    for (std::size_t j = 0; j < steps; ++j) {
      for (std::size_t n = 0; n < 16; ++n) {
        const std::int32_t q = static_cast<std::int32_t>(quads[n] << (24 - 8 * j)) >> 24;
        out[(h + j) * 16 + n] = static_cast<float>(q) * scales[n];
      }
    }
  }
}

// One cell, 4 bits in groups of 32 h with a scale each: 16 bytes a group, byte i holding h = i (low) and i + 16 (high),
// both plus 8. hidden is a multiple of 32.
void expand_int4_row(const std::uint8_t* cells, const float* scales, std::size_t hidden, float* out) {
  for (std::size_t h = 0; h < hidden; h += 32, cells += 16, ++scales) {
    for (std::size_t i = 0; i < 16; ++i) out[h + i] = static_cast<float>((cells[i] & 15) - 8) * *scales;
    for (std::size_t i = 0; i < 16; ++i) out[h + 16 + i] = static_cast<float>((cells[i] >> 4) - 8) * *scales;
  }
}

// 16 cells in groups of eight h: bytes [hidden / 8][16][4], byte j holding h = j (low) and j + 4 (high), both plus 8;
// scales [hidden / 32][16] -> float [hidden][16]. hidden is a multiple of 32.
void expand_int4_columns(const std::uint8_t* cells, const float* scales, std::size_t hidden, float* out) {
  for (std::size_t h = 0; h < hidden; h += 8, cells += 64) {
    std::uint32_t quads[16];
    __builtin_memcpy(quads, cells, sizeof quads);
    const float* scale = scales + h / 32 * 16;
    for (std::size_t j = 0; j < 8; ++j) {
      const unsigned shift = static_cast<unsigned>(8 * (j % 4) + 4 * (j / 4));
      for (std::size_t n = 0; n < 16; ++n) {
        const std::int32_t q = static_cast<std::int32_t>((quads[n] >> shift) & 15u) - 8;
        out[(h + j) * 16 + n] = static_cast<float>(q) * scale[n];
      }
    }
  }
}
