// exp of a register of V that holds nothing above 0, to 2 ulp; NaN stays NaN, below -87 at most 2e-38 is left.
// exp(v) = 2^n * exp(r), n = round(v / ln 2), |r| <= ln(2) / 2; exp(r) by its Taylor series to the 7th power, whose
// remainder there is below 2^-27 of the result. ln 2 comes in two parts so that v - n ln 2 is exact to rounding.
inline typename V::Reg exp_lanes(typename V::Reg v) {
  const typename V::Reg low = V::set1(-87.33654f);  // ln of the smallest normal float
  v = V::max(low, v);                               // keeps NaN
  const typename V::Reg n = V::round(V::mul(v, V::set1(1.44269504f)));
  typename V::Reg r = V::fma(n, V::set1(-0.693359375f), v);
  r = V::fma(n, V::set1(2.12194440e-4f), r);
  typename V::Reg e = V::set1(1.0f / 5040.0f);
  e = V::fma(e, r, V::set1(1.0f / 720.0f));
  e = V::fma(e, r, V::set1(1.0f / 120.0f));
  e = V::fma(e, r, V::set1(1.0f / 24.0f));
  e = V::fma(e, r, V::set1(1.0f / 6.0f));
  e = V::fma(e, r, V::set1(0.5f));
  e = V::fma(e, r, V::set1(1.0f));
  e = V::fma(e, r, V::set1(1.0f));
  return V::scale2(e, n);
}
