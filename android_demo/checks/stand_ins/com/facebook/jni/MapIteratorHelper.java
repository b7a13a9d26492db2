package com.facebook.jni;

import java.util.Iterator;
import java.util.Map;

/** Stands in for fbjni's: walks a map for C++, which reads the fields by their names. */
public class MapIteratorHelper {
  private final Iterator<? extends Map.Entry<?, ?>> entries;
  private Object mKey;
  private Object mValue;

  public MapIteratorHelper(Map<?, ?> map) {
    entries = map.entrySet().iterator();
  }

  boolean hasNext() {
    if (!entries.hasNext()) return false;
    Map.Entry<?, ?> entry = entries.next();
    mKey = entry.getKey();
    mValue = entry.getValue();
    return true;
  }
}
