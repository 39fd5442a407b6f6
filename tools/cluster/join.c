#include "tools/cluster/join.h"

#include <string.h>

bool join_knows_all(const struct node_list *view, const struct node_view *views,
                    size_t view_count) {
    for (size_t i = 0; i < view_count; i++) {
        const struct cluster_node *seen = node_list_find(view, views[i].node->id);
        if (seen == NULL || seen->is_in_handshake || seen->host[0] == 0) return false;
    }
    return true;
}

bool join_is_complete(const struct node_view *views, size_t view_count) {
    struct buffer first = {0};
    struct buffer text = {0};
    bool is_complete = view_count > 0;
    for (size_t i = 0; i < view_count && is_complete; i++) {
        buffer_clear(&text);
        node_list_append_signature(views[i].view, i == 0 ? &first : &text);
        is_complete &= join_knows_all(views[i].view, views, view_count);
        is_complete &= i == 0 || bytes_equal(buffer_view(&first), buffer_view(&text));
    }
    buffer_deinit(&first);
    buffer_deinit(&text);
    return is_complete;
}

static bool is_broken(const struct cluster_node *seen) {
    return !seen->is_myself &&
           (!seen->is_connected || seen->is_in_handshake || seen->is_suspected || seen->is_failed);
}

static bool same_bus(const struct cluster_node *a, const struct cluster_node *b) {
    return a->bus_port == b->bus_port && strcmp(a->host, b->host) == 0;
}

/* The views' entry about the node at the same bus address, if that view cannot reach it. */
static const struct cluster_node *find_broken(const struct node_list *view,
                                              const struct cluster_node *wanted) {
    for (size_t i = 0; i < view->count; i++) {
        if (is_broken(view->items[i]) && same_bus(view->items[i], wanted)) return view->items[i];
    }
    return NULL;
}

/* True when an earlier view, or an earlier line of the same one, has named the node already. */
static bool is_named_before(const struct node_view *views, size_t view_index, size_t line) {
    const struct cluster_node *node = views[view_index].view->items[line];
    for (size_t i = 0; i < view_index; i++) {
        if (find_broken(views[i].view, node) != NULL) return true;
    }
    for (size_t i = 0; i < line; i++) {
        const struct cluster_node *earlier = views[view_index].view->items[i];
        if (is_broken(earlier) && same_bus(earlier, node)) return true;
    }
    return false;
}

void join_describe_broken_links(const struct node_view *views, size_t view_count,
                                struct report *report) {
    struct buffer list = {0};
    size_t count = 0;
    for (size_t i = 0; i < view_count; i++) {
        for (size_t line = 0; line < views[i].view->count; line++) {
            const struct cluster_node *node = views[i].view->items[line];
            if (!is_broken(node) || is_named_before(views, i, line)) continue;
            count++;
            buffer_append_format(&list, " - The port %d of node %s may be unreachable from:\n",
                                 node->bus_port, node->host);
            for (size_t k = i; k < view_count; k++) {
                if (find_broken(views[k].view, node) == NULL) continue;
                buffer_append_format(&list, "   %s:%d\n", views[k].node->host, views[k].node->port);
            }
        }
    }
    if (count > 0) {
        report_warning(report, "Warning: %zu node(s) may be unreachable\n", count);
        report_plain(report, "%.*s", (int)list.len, (const char *)list.data);
        report_plain(report, "Cluster bus ports must be reachable by every node.\n"
                             "Remember that cluster bus ports are different from standard "
                             "instance ports.\n");
    }
    buffer_deinit(&list);
}
