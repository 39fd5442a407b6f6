/* The handlers that the rows name. */
#pragma once

#include "server/command/context.h"
#include "server/types/element.h"
#include "server/types/geo/geo.h"
#include "server/types/geo/geohash.h"

/* Reads two arguments as a point; false after the error was answered. */
bool geo_parse_point(struct command_context *context, uint32_t argument, struct geo_point *out);
/* Metres of a unit; false after the error was answered. */
bool geo_parse_unit(struct command_context *context, uint32_t argument, double *out_metres);
/* Metres as "%.4f" of the unit. */
void geo_reply_distance(struct reply *reply, double in_unit);
void geo_reply_point(struct reply *reply, struct geo_point point);

/* geo_commands.c */
void geo_geoadd(struct command_context *context);
void geo_geodist(struct command_context *context);
void geo_geohash(struct command_context *context);
void geo_geopos(struct command_context *context);

/* geo_search.c */
void geo_georadius(struct command_context *context);
void geo_georadius_ro(struct command_context *context);
void geo_georadiusbymember(struct command_context *context);
void geo_georadiusbymember_ro(struct command_context *context);
void geo_geosearch(struct command_context *context);
void geo_geosearchstore(struct command_context *context);
