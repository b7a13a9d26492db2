package org.spartanc.core;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.util.HashSet;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Programs and tasks that an earlier version of an app copied out of its bundles: nothing else would ever remove them. */
final class Leftovers {
  /** As {@link Bundle} names what it copies; a partial copy is what an app leaves that was stopped in the middle. */
  private static final Pattern COPY = Pattern.compile("([0-9a-f]{64})\\.(pte|safetensors|partial)");
  private static final String MANIFEST = "/" + Manifest.NAME;

  private Leftovers() {}

  /** Removes from {@code folder} the copies that no manifest of {@code bundles} lists. Files of other names stay. */
  static void remove(Source bundles, File folder) {
    File[] files = folder.listFiles();
    if (files == null) return;
    Set<String> listed;
    try {
      listed = listed(bundles);
    } catch (IOException e) {
      return; // what can't be listed now is removed another time
    }
    for (File file : files) {
      Matcher copy = COPY.matcher(file.getName());
      boolean isOld = copy.matches() && (copy.group(2).equals("partial") || !listed.contains(copy.group(1)));
      if (isOld && file.isFile() && !file.delete()) file.deleteOnExit();
    }
  }

  private static Set<String> listed(Source bundles) throws IOException {
    Set<String> digests = new HashSet<>();
    for (String name : bundles.names()) {
      if (!name.endsWith(MANIFEST) || name.indexOf('/') != name.length() - MANIFEST.length()) continue;
      Source bundle = bundles.below(name.substring(0, name.length() - MANIFEST.length()));
      try (InputStream in = bundle.open(Manifest.NAME)) {
        Manifest manifest = Manifest.read(Digests.read(in, Manifest.LIMIT, Manifest.NAME));
        for (Manifest.Entry entry : manifest.files.values()) digests.add(entry.sha256);
      } catch (InputException e) {
        continue; // a bundle that is never opened has no copies
      }
    }
    return digests;
  }
}
