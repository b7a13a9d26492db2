package org.spartanc.core;

import java.util.List;

/** One normaliser after the other. */
final class NormalizerChain implements Normalizer {
  private final List<Normalizer> normalizers;

  NormalizerChain(List<Normalizer> normalizers) {
    this.normalizers = normalizers;
  }

  @Override
  public String normalize(String text) {
    String result = text;
    for (Normalizer each : normalizers) result = each.normalize(result);
    return result;
  }
}
