# SPDX-License-Identifier: Apache-2.0
# Puts files into a library as byte arrays.
# planish_embed(TARGET NAME FILE...): the files, one after the other, become
#   extern const unsigned char kEmbedded_NAME[]; extern const unsigned long kEmbedded_NAME_size;
# of namespace planish; the whole also stands in ${CMAKE_BINARY_DIR}/embedded/NAME for tests.
# This file is also the script that does it: cmake -DNAME= -DFOLDER= -DFILES=a;b -P embed.cmake

if(CMAKE_SCRIPT_MODE_FILE)
  set(all "")
  foreach(file ${FILES})
    file(READ ${file} text)
    string(APPEND all "${text}")
  endforeach()
  file(WRITE ${FOLDER}/${NAME} "${all}")
  file(READ ${FOLDER}/${NAME} hex HEX)
  string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(MAKE_C_IDENTIFIER ${NAME} symbol)
  file(WRITE ${FOLDER}/${NAME}.cc "// Made by cmake/embed.cmake.
namespace planish {
extern const unsigned char kEmbedded_${symbol}[];
extern const unsigned long kEmbedded_${symbol}_size;
const unsigned char kEmbedded_${symbol}[] = {
${bytes}};
const unsigned long kEmbedded_${symbol}_size = sizeof(kEmbedded_${symbol});
}  // namespace planish
")
  return()
endif()

set(PLANISH_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})
function(planish_embed target name)
  set(folder ${CMAKE_BINARY_DIR}/embedded)
  list(TRANSFORM ARGN PREPEND ${PROJECT_SOURCE_DIR}/)
  add_custom_command(OUTPUT ${folder}/${name}.cc BYPRODUCTS ${folder}/${name}
    COMMAND ${CMAKE_COMMAND} -DNAME=${name} -DFOLDER=${folder} "-DFILES=${ARGN}" -P ${PLANISH_EMBED_SCRIPT}
    DEPENDS ${ARGN} ${PLANISH_EMBED_SCRIPT} VERBATIM COMMENT "Embedding ${name}")
  target_sources(${target} PRIVATE ${folder}/${name}.cc)
endfunction()
