// The rows' loop over registers of V, for the instruction set of the file that includes it.
//
// A sum of equal numbers divided by their count is not that number in float, and what it is off by is all that is left
// of a level row. So the mean is found in two steps: `near_mean` from distances to the first number, which are exactly 0
// in a level row, and `rest` from distances to near_mean, which corrects it. Four sums run side by side: one alone would
// wait for its own last addition.

template <typename Reg>
inline Reg sum_of_four(const Reg* sums) {
  return V::add(V::add(sums[0], sums[1]), V::add(sums[2], sums[3]));
}

template <bool HasResidual>
inline void row(const float* x, const float* residual, std::size_t hidden, const float* weight, const float* bias,
                float eps, float* out) {
  using Reg = typename V::Reg;
  constexpr std::size_t kLanes = V::kLanes;
  const std::size_t fours = hidden / (4 * kLanes) * (4 * kLanes);
  const std::size_t whole = hidden / kLanes * kLanes;
  const float count = static_cast<float>(hidden);

  const float first = HasResidual ? x[0] + residual[0] : x[0];
  const Reg firsts = V::set1(first);
  Reg sums[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  const auto take = [&](std::size_t h, Reg& sum) {
    Reg v = V::load(x + h);
    if (HasResidual) v = V::add(v, V::load(residual + h));
    V::store(out + h, v);
    sum = V::add(sum, V::sub(v, firsts));
  };
  for (std::size_t h = 0; h < fours; h += 4 * kLanes) {
    for (std::size_t i = 0; i < 4; ++i) take(h + i * kLanes, sums[i]);
  }
  for (std::size_t h = fours; h < whole; h += kLanes) take(h, sums[0]);
  float sum = V::sum(sum_of_four(sums));
  for (std::size_t h = whole; h < hidden; ++h) {
    out[h] = HasResidual ? x[h] + residual[h] : x[h];
    sum += out[h] - first;
  }

  const float near_mean = first + sum / count;
  const Reg near_means = V::set1(near_mean);
  Reg rests[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  Reg squares[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  const auto deviate = [&](std::size_t h, Reg& rest, Reg& square) {
    const Reg d = V::sub(V::load(out + h), near_means);
    rest = V::add(rest, d);
    square = V::fma(d, d, square);
  };
  for (std::size_t h = 0; h < fours; h += 4 * kLanes) {
    for (std::size_t i = 0; i < 4; ++i) deviate(h + i * kLanes, rests[i], squares[i]);
  }
  for (std::size_t h = fours; h < whole; h += kLanes) deviate(h, rests[0], squares[0]);
  float rest = V::sum(sum_of_four(rests));
  float square = V::sum(sum_of_four(squares));
  for (std::size_t h = whole; h < hidden; ++h) {
    const float d = out[h] - near_mean;
    rest += d;
    square += d * d;
  }

  rest /= count;
  const float scale = 1.0f / __builtin_sqrtf(square / count - rest * rest + eps);
  const Reg scales = V::set1(scale), shifts = V::set1(-rest * scale);
  for (std::size_t h = 0; h < whole; h += kLanes) {
    Reg v = V::fma(V::sub(V::load(out + h), near_means), scales, shifts);
    v = V::mul(v, V::load(weight + h));
    if (bias != nullptr) v = V::add(v, V::load(bias + h));
    V::store(out + h, v);
  }
  for (std::size_t h = whole; h < hidden; ++h) {
    out[h] = (out[h] - near_mean - rest) * scale * weight[h];
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
