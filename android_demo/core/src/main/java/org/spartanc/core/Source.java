package org.spartanc.core;

import java.io.IOException;
import java.io.InputStream;
import java.util.List;

/** Where the files of a bundle come from: a folder, or an app's assets. */
public interface Source {
  /** Names of all files, those in folders as {@code folder/name}. */
  List<String> names() throws IOException;

  InputStream open(String name) throws IOException;
}
