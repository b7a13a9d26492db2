// The shapes of the tile registers (AMX), as the processor reads them.
#pragma once

#include <cstdint>

namespace spartan {

struct TileShapes {
  std::uint8_t palette, start_row, reserved[14];
  std::uint16_t row_bytes[16];  // of each tile, up to 64; there are 8
  std::uint8_t rows[16];        // up to 16
};
static_assert(sizeof(TileShapes) == 64, "as the processor reads it");

}  // namespace spartan
