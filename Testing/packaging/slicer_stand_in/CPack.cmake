# Slicer makes the package here, and stops when these files are missing.
foreach(file ${EXTENSION_LICENSE_FILE} ${EXTENSION_README_FILE})
  if(NOT EXISTS ${file})
    message(FATAL_ERROR "${file} does not exist")
  endif()
endforeach()
