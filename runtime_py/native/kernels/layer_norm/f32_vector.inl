// The rows' loop over registers of V, for the instruction set of the file that includes it. Four sums run side by
// side: one alone would wait for its own last addition.

template <bool HasResidual>
inline void row(const float* x, const float* residual, std::size_t hidden, const float* weight, const float* bias,
                float eps, float* out) {
  constexpr std::size_t kLanes = V::kLanes;
  const std::size_t fours = hidden / (4 * kLanes) * (4 * kLanes);
  const std::size_t whole = hidden / kLanes * kLanes;
  const std::size_t left = hidden - whole;
  typename V::Reg sum[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  const auto take = [&](std::size_t h, typename V::Reg& total) {
    typename V::Reg v = V::load(x + h);
    if (HasResidual) v = V::add(v, V::load(residual + h));
    V::store(out + h, v);
    total = V::add(total, v);
  };
  for (std::size_t h = 0; h < fours; h += 4 * kLanes) {
    for (std::size_t i = 0; i < 4; ++i) take(h + i * kLanes, sum[i]);
  }
  for (std::size_t h = fours; h < whole; h += kLanes) take(h, sum[0]);
  float total = V::sum(V::add(V::add(sum[0], sum[1]), V::add(sum[2], sum[3])));
  for (std::size_t h = whole; h < hidden; ++h) {
    out[h] = HasResidual ? x[h] + residual[h] : x[h];
    total += out[h];
  }

  const float mean = total / static_cast<float>(hidden);
  const typename V::Reg means = V::set1(mean);
  typename V::Reg square[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  const auto deviate = [&](std::size_t h, typename V::Reg& squares) {
    const typename V::Reg d = V::sub(V::load(out + h), means);
    squares = V::fma(d, d, squares);
  };
  for (std::size_t h = 0; h < fours; h += 4 * kLanes) {
    for (std::size_t i = 0; i < 4; ++i) deviate(h + i * kLanes, square[i]);
  }
  for (std::size_t h = fours; h < whole; h += kLanes) deviate(h, square[0]);
  float squares = V::sum(V::add(V::add(square[0], square[1]), V::add(square[2], square[3])));
  for (std::size_t h = whole; h < hidden; ++h) squares += (out[h] - mean) * (out[h] - mean);

  const float scale = 1.0f / __builtin_sqrtf(squares / static_cast<float>(hidden) + eps);
  const typename V::Reg scales = V::set1(scale);
  for (std::size_t h = 0; h < whole; h += kLanes) {
    typename V::Reg v = V::mul(V::mul(V::sub(V::load(out + h), means), scales), V::load(weight + h));
    if (bias != nullptr) v = V::add(v, V::load(bias + h));
    V::store(out + h, v);
  }
  for (std::size_t h = whole; h < whole + left; ++h) {
    out[h] = (out[h] - mean) * scale * weight[h];
    if (bias != nullptr) out[h] += bias[h];
  }
}

inline void all_rows(const float* x, const float* residual, std::size_t rows, std::size_t hidden, const float* weight,
                     const float* bias, float eps, float* out) {
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t at = r * hidden;
    if (residual != nullptr) {
      row<true>(x + at, residual + at, hidden, weight, bias, eps, out + at);
    } else {
      row<false>(x + at, nullptr, hidden, weight, bias, eps, out + at);
    }
  }
}
