package org.spartanc.core;

import java.io.IOException;
import java.io.InputStream;
import java.util.List;

/** Where files come from, those of a bundle or of several: a folder, or an app's assets. */
public interface Source {
  /** Names of all files, those in folders as {@code folder/name}. */
  List<String> names() throws IOException;

  InputStream open(String name) throws IOException;

  /** The files of one folder, by their names in it. */
  Source below(String folder);
}
